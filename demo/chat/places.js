// Where one can be: rooms, and conversations between two; each with what was not read there.

import { recall, remember } from "./memory.js";

/** A mark says no more than this. */
const MARK_MAX = 99;

const PARTNERS_MAX = 30;

export class PlaceList {
  #roomList;
  #partnerList;
  #chosen;
  #places = new Map();
  #shown;

  /** `chosen(place)` hears where the visitor wants to be: `{ key, title }`, and `room` or `partner`. */
  constructor(roomList, partnerList, { chosen }) {
    [this.#roomList, this.#partnerList, this.#chosen] = [roomList, partnerList, chosen];
  }

  /** The rooms that there are, and how often something was said in each. */
  setRooms(rooms) {
    for (const place of [...this.#places.values()]) {
      if (place.room && !rooms.some(({ room }) => room === place.room)) this.removeRoom(place.room);
    }
    rooms.forEach((room) => this.addRoom(room));
  }

  addRoom({ room, said }) {
    const place = this.#add(this.#roomList, { key: `#${room}`, title: `# ${room}`, room });
    this.said(room, said, place === this.#shown);
  }

  removeRoom(room) {
    this.#places.get(`#${room}`)?.item.remove();
    this.#places.delete(`#${room}`);
  }

  find(key) {
    return this.#places.get(key);
  }

  room(room) {
    return this.#places.get(`#${room}`);
  }

  first() {
    return [...this.#places.values()].find(({ room }) => room);
  }

  /** The conversation with somebody, which begins here. */
  partner(partner) {
    const place = this.#add(this.#partnerList, { key: `@${partner}`, title: partner, partner });
    document.querySelector(".places .hint").hidden = true;
    const others = [...this.#partnerList.children].filter((item) => item !== place.item);
    if (others.length >= PARTNERS_MAX) this.#remove(others[0]);
    return place;
  }

  /** Something was said in a room, for the `version`th time. */
  said(room, version, isRead) {
    const place = this.room(room);
    if (!place || !Number.isInteger(version)) return;
    place.newest = version;
    // A server that lost its store begins to count anew.
    const seen = recall(place.key) ?? version;
    this.#mark(place, isRead || seen > version ? version : Number(seen), version);
  }

  /** A conversation has these messages. */
  wrote(partner, messages, isRead) {
    const place = this.partner(partner);
    place.newest = messages.at(-1)?.time ?? 0;
    const seen = isRead ? place.newest : Number(recall(place.key) ?? 0);
    remember(place.key, seen);
    this.#show(place, messages.filter(({ from, time }) => from === partner && time > seen).length);
  }

  /** The visitor is here now, and has read what there is. */
  show(place) {
    this.#shown = place;
    for (const { item } of this.#places.values()) item.firstChild.removeAttribute("aria-current");
    place.item.firstChild.setAttribute("aria-current", "true");
    if (place.newest !== undefined) remember(place.key, place.newest);
    this.#show(place, 0);
  }

  #mark(place, seen, version) {
    remember(place.key, seen);
    this.#show(place, version - seen);
  }

  #show(place, unread) {
    const mark = place.item.querySelector(".mark-unread");
    mark.hidden = unread === 0;
    mark.firstChild.textContent = unread > MARK_MAX ? `${MARK_MAX}+` : unread;
  }

  #add(list, place) {
    const known = this.#places.get(place.key);
    if (known) return known;
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const title = Object.assign(document.createElement("span"), { dir: "auto", textContent: place.title });
    const mark = Object.assign(document.createElement("span"), { className: "mark-unread", hidden: true });
    mark.append(document.createElement("span"), Object.assign(document.createElement("span"), { className: "unseen", textContent: " unread" }));
    button.append(title, " ", mark);
    const made = { ...place, item: document.createElement("li") };
    made.item.dataset.key = place.key;
    made.item.append(button);
    button.addEventListener("click", () => this.#chosen(made));
    list.append(made.item);
    this.#places.set(place.key, made);
    return made;
  }

  #remove(item) {
    this.#places.delete(item.dataset.key);
    item.remove();
  }
}
