// Every demonstration there is: the one list that pages link from. Sorted by path.

export const PAGES = [
  { path: "/demo/bell/", title: "Notification bell", what: "Two tenants, their users, and what none may see of another." },
  { path: "/demo/board/", title: "Kanban board", what: "Moves show at once, even offline, and conflicts are told." },
  { path: "/demo/chat/", title: "Chat", what: "Rooms, who is in them, and messages between two." },
  { path: "/demo/compare/", title: "The comparison", what: "Four transports side by side, with what each costs, and ways to make it hard." },
  { path: "/demo/cursors/", title: "Shared cursors", what: "Everybody’s pointer, thirty times a second, in six bytes." },
  { path: "/demo/feed/", title: "Social feed", what: "Posts and likes that outlive the server." },
  { path: "/demo/game/", title: "Breakwater", what: "A game for two, with whoever likes to watch." },
  { path: "/demo/host/", title: "Monitoring", what: "CPU, memory, network and disks of every node, each second." },
  { path: "/demo/scores/", title: "Live scores", what: "Several matches on one stream; what you miss comes later, in order." },
  { path: "/demo/ticker/", title: "Stock ticker", what: "Two hundred shares, a hundred new prices a second." },
];
