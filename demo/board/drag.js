// Dragging cards with whatever points: a mouse anywhere on the card, a finger or a pen by its grip, so that the rest of the
// card still scrolls the page. Nothing here knows what a card means: it says where one was put.

/** How far a mouse moves before it drags rather than clicks, in pixels. */
const SLACK_PX = 5;

/** Near an edge of what scrolls, it scrolls: within so much, by at most so much a frame. */
const EDGE_PX = 48;
const SCROLL_PX = 12;

/**
 * Lets `.card`s in the lists of `board` be dragged. `dropped(card, list, after)` hears which card was let go of in which list
 * and below which other one, `null` being the top. While one is dragged, `busy()` is true.
 */
export function dragging(board, dropped) {
  let drag = null;

  board.addEventListener("pointerdown", (event) => {
    const card = event.target.closest(".card");
    const byGrip = event.target.closest(".grip");
    if (!card || drag || event.button !== 0 || !(byGrip || event.pointerType === "mouse")) return;
    drag = { card, id: event.pointerId, x: event.clientX, y: event.clientY, begun: false };
    if (byGrip) event.preventDefault();
  });

  document.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drag?.id) return;
    if (!drag.begun && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < SLACK_PX) return;
    event.preventDefault();
    if (!drag.begun) begin();
    Object.assign(drag, { atX: event.clientX, atY: event.clientY });
    follow();
  });

  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, (event) => {
      if (event.pointerId === drag?.id) finish(end === "pointerup");
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drag) finish(false);
  });
  // What was dragged with a mouse was not clicked.
  board.addEventListener("click", (event) => {
    if (!board.dataset.dragged) return;
    delete board.dataset.dragged;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  function begin() {
    const { card } = drag;
    const box = card.getBoundingClientRect();
    const ghost = card.cloneNode(true);
    ghost.removeAttribute("data-id");
    ghost.setAttribute("aria-hidden", "true");
    ghost.inert = true;
    ghost.classList.add("ghost");
    Object.assign(ghost.style, { width: `${box.width}px`, left: `${box.left}px`, top: `${box.top}px` });
    document.body.append(ghost);
    const place = document.createElement("li");
    place.className = "place";
    place.style.height = `${box.height}px`;
    card.before(place);
    card.classList.add("lifted");
    document.body.classList.add("dragging");
    Object.assign(drag, { begun: true, ghost, place, atX: drag.x, atY: drag.y });
    drag.frame = requestAnimationFrame(scroll);
  }

  function follow() {
    const { ghost, place, card, x, y, atX, atY } = drag;
    ghost.style.transform = `translate(${atX - x}px, ${atY - y}px) rotate(1.5deg)`;
    const list = listAt(atX, atY);
    if (!list) return;
    const others = [...list.querySelectorAll(".card")].filter((other) => other !== card);
    const next = others.find((other) => atY < middle(other));
    if (place.parentNode !== list || place.nextElementSibling !== (next ?? null)) list.insertBefore(place, next ?? null);
  }

  function listAt(x, y) {
    const lists = [...board.querySelectorAll("ol")];
    // A column is as tall as the page to whoever aims below its last card.
    return document.elementFromPoint(x, y)?.closest(".column")?.querySelector("ol")
      ?? lists.find((list) => x >= list.getBoundingClientRect().left && x <= list.getBoundingClientRect().right);
  }

  function scroll() {
    if (!drag?.begun) return;
    const box = board.getBoundingClientRect();
    board.scrollLeft += push(drag.atX, Math.max(0, box.left), Math.min(innerWidth, box.right));
    scrollBy(0, push(drag.atY, 0, innerHeight));
    follow();
    drag.frame = requestAnimationFrame(scroll);
  }

  function finish(isDrop) {
    const { card, begun, ghost, place, frame } = drag;
    drag = null;
    if (!begun) return;
    cancelAnimationFrame(frame);
    const list = place.parentNode;
    let before = place.previousElementSibling;
    while (before && (before === card || !before.matches(".card"))) before = before.previousElementSibling;
    place.remove();
    ghost.remove();
    card.classList.remove("lifted");
    document.body.classList.remove("dragging");
    board.dataset.dragged = "true";
    setTimeout(() => delete board.dataset.dragged);
    dropped(isDrop ? card : null, list, before);
  }

  return { busy: () => drag?.begun ?? false };
}

function middle(element) {
  const box = element.getBoundingClientRect();
  return box.top + box.height / 2;
}

function push(at, low, high) {
  if (at < low + EDGE_PX) return -SCROLL_PX * Math.min(1, (low + EDGE_PX - at) / EDGE_PX);
  if (at > high - EDGE_PX) return SCROLL_PX * Math.min(1, (at - high + EDGE_PX) / EDGE_PX);
  return 0;
}
