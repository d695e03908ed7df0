// The lazy part of the book that puts Labs into their places: frozen at first, live with the page's kernel.

import { offerPart } from "../parts";
import { mountLab } from "./shell/shell";
import { bookSurroundings } from "./book_surroundings";
import { parseState } from "./state";

offerPart("lab", {
  mount: (host, place, given, signal) => void mountLab(place, bookSurroundings(host, null), parseState(given), signal),
  mountWidget: (host, place, widget, signal) => {
    const lab = mountLab(place, bookSurroundings(host, widget), parseState(widget.get("state")), signal);
    return { lose: (reason) => lab.lose(reason) };
  },
});
