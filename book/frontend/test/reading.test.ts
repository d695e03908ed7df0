import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { depthSwitch, unfold } from "../src/reading/depth";
import { Keys } from "../src/reading/keys";
import { placeFor } from "../src/reading/placing";
import { pageOf, Progress } from "../src/reading/progress";
import { parse, Settings } from "../src/reading/settings";

class Store {
  readonly held = new Map<string, string>();
  getItem = (name: string): string | null => this.held.get(name) ?? null;
  setItem = (name: string, text: string): void => void this.held.set(name, text);
}

let controller: AbortController;
beforeEach(() => {
  controller = new AbortController();
  document.body.replaceChildren();
});
afterEach(() => controller.abort());

function html(text: string): void {
  document.body.innerHTML = text;
}

describe("what the browser remembers", () => {
  test("damaged or foreign text falls back to a new reader", () => {
    for (const text of ["", "{", "7", "null", '{"depth":"deepest","keys":"no","read":7}']) {
      expect(parse(text)).toEqual({ depth: "main", keys: true, read: [] });
    }
    expect(parse('{"depth":"closer","keys":false,"read":["a",7]}')).toEqual({ depth: "closer", keys: false, read: ["a"] });
  });

  test("what another tab changed is not overwritten", () => {
    const store = new Store();
    const [one, other] = [new Settings(store), new Settings(store)];
    one.change({ depth: "research" });
    other.change({ keys: false });
    expect(new Settings(store).now).toEqual({ depth: "research", keys: false, read: [] });
  });

  test("a store that refuses lets the choice last as long as the page", () => {
    const refuse = (): never => {
      throw new Error("denied");
    };
    const settings = new Settings({ getItem: refuse, setItem: refuse });
    settings.change({ depth: "closer" });
    expect(settings.now.depth).toBe("closer");
  });
});

describe("single keys", () => {
  function press(target: Element, key: string, more: KeyboardEventInit = {}): void {
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
  }

  function keysWith(settings: Settings): ReturnType<typeof vi.fn<() => void>> {
    const act = vi.fn<() => void>();
    new Keys(settings, controller.signal).add({ key: "g", does: "Open it", act });
    return act;
  }

  test("act on the page and on buttons, and never where one types", () => {
    html(`<button id="b">x</button><input id="box" type="checkbox"><input id="i"><textarea id="t"></textarea>
      <select id="s"></select><div id="e" contenteditable="true"><b id="inside">x</b></div><div class="cm-editor"><i id="c">x</i></div>`);
    const act = keysWith(new Settings(new Store()));
    for (const id of ["i", "t", "s", "e", "inside", "c"]) press(document.getElementById(id) as Element, "g");
    expect(act).not.toHaveBeenCalled();
    for (const id of ["b", "box"]) press(document.getElementById(id) as Element, "g");
    press(document.body, "g");
    expect(act).toHaveBeenCalledTimes(3);
  });

  test("leave combinations, repeated keys and open dialogs alone", () => {
    const act = keysWith(new Settings(new Store()));
    for (const more of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }, { repeat: true }, { isComposing: true }]) press(document.body, "g", more);
    html("<dialog open></dialog>");
    press(document.body, "g");
    expect(act).not.toHaveBeenCalled();
  });

  test("do nothing when the reader switched them off", () => {
    const settings = new Settings(new Store());
    const act = keysWith(settings);
    settings.change({ keys: false });
    press(document.body, "g");
    expect(act).not.toHaveBeenCalled();
  });

  test("one key does one thing", () => {
    const keys = new Keys(new Settings(new Store()), controller.signal);
    keys.add({ key: "g", does: "", act: () => undefined });
    expect(() => keys.add({ key: "g", does: "", act: () => undefined })).toThrow("key taken");
  });
});

describe("the bubble's place", () => {
  const size = { width: 300, height: 80 };
  const window_ = { width: 390, height: 800 };

  test("is below the word, touching it", () => {
    expect(placeFor({ left: 20, top: 100, bottom: 120 }, size, window_)).toEqual({ left: 20, top: 120 });
  });

  test("is above near the lower edge, and never beyond the sides", () => {
    expect(placeFor({ left: 350, top: 760, bottom: 780 }, size, window_)).toEqual({ left: 82, top: 680 });
    expect(placeFor({ left: -40, top: 100, bottom: 120 }, size, window_).left).toBe(8);
  });

  test("stays below where neither side has room", () => {
    expect(placeFor({ left: 20, top: 30, bottom: 50 }, size, { width: 390, height: 120 }).top).toBe(50);
  });
});

describe("depth", () => {
  const page = `<h1>x</h1><details class="tl-depth tl-depth-closer" id="c"></details><details class="tl-depth tl-depth-research" id="r"></details>
    <div class="cell tag_closer"><details class="hide" id="k"></details></div><div class="cell"><details class="hide" id="solution"></details></div>`;
  const opened = (): string[] => [...document.querySelectorAll("details[open]")].map(({ id }) => id);

  test("each depth holds the ones before it, and no solution", () => {
    html(page);
    unfold("research");
    expect(opened()).toEqual(["c", "r", "k"]);
    unfold("closer");
    expect(opened()).toEqual(["c", "k"]);
    unfold("main");
    expect(opened()).toEqual([]);
  });

  test("the choice stays, and a new reader's page is left as it is", () => {
    html(page);
    const store = new Store();
    const choice = depthSwitch(new Settings(store), controller.signal);
    expect(opened()).toEqual([]);
    if (choice) document.body.append(choice);
    choice?.querySelector<HTMLInputElement>("[value=closer]")?.click();
    expect(opened()).toEqual(["c", "k"]);
    html(page);
    depthSwitch(new Settings(store), controller.signal);
    expect(opened()).toEqual(["c", "k"]);
  });

  test("a page with nothing folded has no switch", () => {
    html("<h1>x</h1>");
    expect(depthSwitch(new Settings(new Store()), controller.signal)).toBeNull();
  });
});

describe("progress", () => {
  test("knows a page by its address, from a server and from a folder", () => {
    expect(pageOf("http://a/b/lessons/tour.html#type", "http://a/b/")).toBe("lessons/tour");
    expect(pageOf("file:///x/lessons/tour.html", "file:///x/")).toBe("lessons/tour");
    expect(pageOf("https://elsewhere/lessons/tour.html", "http://a/b/")).toBe("");
  });

  test("marks a page, counts the lessons, and takes the mark away again", () => {
    const link = (page: string): string => `<a class="reference internal" href="${page}.html">x</a>`;
    html(`<div class="bd-sidebar-primary"><div class="bd-toc-item">${link("lessons/tour")}${link("lessons/ablation")}</div></div><article class="bd-article"></article>`);
    const settings = new Settings(new Store());
    new Progress({ page: "lessons/tour", root: "", live: false, chat: false }, settings, controller.signal);
    const button = document.querySelector<HTMLButtonElement>(".tl-read-button");
    button?.click();
    expect(settings.now.read).toEqual(["lessons/tour"]);
    expect(button?.getAttribute("aria-pressed")).toBe("true");
    expect(document.querySelector("a")?.textContent).toContain("(read)");
    expect(document.querySelector(".tl-read-words")?.textContent).toContain("1 of 2 lessons read");
    button?.click();
    expect(settings.now.read).toEqual([]);
    expect(document.querySelector(".tl-read-mark")).toBeNull();
  });
});
