import { beforeEach, describe, expect, test } from "vitest";
import { parseChatEvent, type ChatEvent } from "../src/chat/messages";
import { TurnView } from "../src/chat/turn_view";
import { advance, historyOf, keep, kept, newTurn, type Turn } from "../src/chat/turns";

function event(name: string, data: unknown): ChatEvent {
  const parsed = parseChatEvent({ event: name, data: JSON.stringify(data) });
  if (!parsed) throw new Error(`${name} was not understood`);
  return parsed;
}

const EVENTS = [
  event("meta", { tier: "answer", mode: "extractive", model: null }),
  event("sources", [
    { n: 1, id: "a", title: "Self-attention", section: "Queries", url: "kb/documents/a.html#q", excerpt: "" },
    { n: 2, id: "b", title: "Elsewhere", section: "", url: "javascript:alert(1)", excerpt: "" },
    { n: "3", title: "No number" },
  ]),
  event("text", { text: "Every position reads.", cites: [1, 2] }),
  event("done", { elapsed_ms: 3 }),
];
const answered = (question: string): Turn => EVENTS.reduce(advance, newTurn(question));

beforeEach(() => window.sessionStorage.clear());

describe("chat events", () => {
  test("build up a turn", () => {
    const turn = answered("How?");
    expect(turn.meta).toEqual({ tier: "answer", model: null, isQuoted: true });
    expect(turn.sources.map((source) => source.n)).toEqual([1, 2]);
    expect(turn.end.kind).toBe("done");
  });

  test("of an unknown name are ignored, of a broken shape are empty", () => {
    expect(parseChatEvent({ event: "weather", data: "{}" })).toBeNull();
    expect(parseChatEvent({ event: "text", data: "no json" })).toEqual({ kind: "text", piece: { text: "", cites: [] } });
    expect(event("meta", { tier: "certain" })).toMatchObject({ meta: { tier: "none" } });
  });
});

describe("the conversation", () => {
  test("tells the server the last answered questions", () => {
    const failed = advance(newTurn("?"), event("error", { code: "c", message: "m", hint: "h", status: 503 }));
    const turns = [...[1, 2, 3, 4, 5].map((n) => answered(`q${n}`)), failed];
    expect(historyOf(turns).map((entry) => entry.question)).toEqual(["q2", "q3", "q4", "q5"]);
  });

  test("is kept for the tab and read back the same", () => {
    keep([answered("kept"), newTurn("open")]);
    expect(kept()).toEqual([answered("kept")]);
  });

  test("a damaged store is an empty one", () => {
    window.sessionStorage.setItem("tl-chat", '[{"question":1},"x",null]');
    expect(kept()).toEqual([]);
    window.sessionStorage.setItem("tl-chat", "{");
    expect(kept()).toEqual([]);
  });
});

describe("an answer on the page", () => {
  test("links only to the book", () => {
    const links = [...new TurnView("../", answered("How?")).element.querySelectorAll("a")];
    expect(new Set(links.map((link) => link.getAttribute("href")))).toEqual(new Set(["../kb/documents/a.html#q"]));
  });

  test("says its tier honestly", () => {
    const tier = (name: string): string | null | undefined => {
      const turn = advance(newTurn("?"), event("meta", { tier: name, mode: "model", model: "m-1" }));
      return new TurnView("", turn).element.querySelector(".tl-chat-tier")?.textContent;
    };
    expect(tier("answer")).toBe("Answer · written by m-1 from the sources");
    expect(tier("closest")).toBe("The closest I have · written by m-1 from the sources");
    expect(tier("none")).toBe("The book does not cover this");
  });

  test("shows markup as text", () => {
    const turn = advance(answered("?"), event("text", { text: "<img src=x onerror=alert(1)>", cites: [] }));
    const view = new TurnView("", turn).element;
    expect(view.querySelector("img")).toBeNull();
    expect(view.textContent).toContain("<img src=x");
  });

  test("a failure shows its sentence and its hint", () => {
    const turn = advance(newTurn("?"), event("error", { code: "c", message: "Closed.", hint: "Run `x`.", status: 503 }));
    const alert = new TurnView("", turn).element.querySelector("[role=alert]");
    expect(alert?.textContent).toBe("Closed. Run x.");
    expect(alert?.querySelector("code")?.textContent).toBe("x");
  });
});
