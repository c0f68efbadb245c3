// What a page has of an order.

export function watch(server, id, show) {
  const order = new EventSource(`${server}/orders/${id}/events`);
  order.addEventListener("state", ({ data }) => show(JSON.parse(data).state));
  return order;
}
