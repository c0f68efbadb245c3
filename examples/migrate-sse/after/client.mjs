// What a page has of an order.

export function watch(server, id, show) {
  const order = new EventSource(`${server}/c/orders:${id}`);
  order.addEventListener("state", ({ data }) => show(JSON.parse(data).state));
  order.addEventListener("$gap", () => show("something may be missing: load the order again"));
  return order;
}
