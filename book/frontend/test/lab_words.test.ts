import { describe, expect, test } from "vitest";
import { align, alignmentText } from "../src/lab/modes/aligning";
import { changeRows, klShare } from "../src/lab/modes/before_after";
import { compareForecast, forecastFor, headsForecast, judge, lensForecast, moveForecast, moveOf, patchForecast, predictedWords, settledAt, shareChoice } from "../src/lab/modes/forecasts";
import { lackOf, nameOf, readPart, toggled } from "../src/lab/modes/part_names";
import { klWord, listed, movedText, partWords, points } from "../src/lab/modes/sentences";
import { answerTo, guesses } from "./lab_stage";

const ASKED = { model: "toy", prompt: "The capital of France is" } as const;

describe("predictions", () => {
  test.each([[-0.65, "down much"], [-0.1, "down some"], [-0.02, "down little"], [-0.004, "same"], [0.0, "same"], [0.03, "up little"], [0.2499, "up some"], [0.25, "up much"]])("%f is %s", (change, value) => {
    expect(moveOf(change)).toBe(value);
  });

  test("right, near and wrong", () => {
    const forecast = moveForecast(" Paris", 0.77, "now");
    expect(judge(forecast, "down much", "down much")).toBe("right");
    expect(judge(forecast, "down little", "down much")).toBe("near");
    expect(judge(forecast, "same", "down little")).toBe("near");
    expect(judge(forecast, "up little", "down little")).toBe("wrong");
    expect(judge(forecast, "", "same")).toBeNull();
  });

  test("what a link says is none of the choices: no prediction", () => {
    const forecast = moveForecast(" Paris", 0.77, "now");
    expect(predictedWords(forecast, "<b>up</b>")).toBe("");
    expect(judge(forecast, "constructor", "same")).toBeNull();
  });

  test("each kind of question has the forecast that its answer can judge", () => {
    const facts = { token: " Paris", p: 0.77, n_heads: 12 };
    const questions = [
      { ...ASKED, ask: "ablate", parts: ["L1H1"], method: "zero", seed: 0 },
      { ...ASKED, ask: "patch", corrupted: "b", part: "L1", position: 2 },
      { ...ASKED, ask: "steer", toward: "a", away: "b", layer: 1, coef: 2 },
      { ...ASKED, ask: "lens", kind: "logit" },
      { ...ASKED, ask: "heads" },
      { ...ASKED, ask: "compare", other: "The capital of Italy is" },
    ] as const;
    for (const question of questions) {
      const forecast = forecastFor(question, facts);
      const came = forecast?.came(answerTo(question));
      expect(forecast?.choices.map(({ value }) => value), question.ask).toContain(came?.value);
    }
    expect(forecastFor({ ...ASKED, ask: "identities" }, facts)).toBeNull();
  });

  test("an answer of another kind is judged by nobody", () => {
    const answer = answerTo({ ...ASKED, ask: "identities" });
    for (const forecast of [moveForecast("a", 1, ""), patchForecast("a"), lensForecast("a"), headsForecast(3), compareForecast()]) expect(forecast.came(answer)).toBeNull();
  });

  test("where a token settles is where it stays first", () => {
    expect(settledAt([9, 1, 2, 1, 1])).toBe(3);
    expect(settledAt([1, 1, 1])).toBe(0);
    expect(settledAt([3, 2])).toBeNull();
  });

  test.each([[-0.4, "away"], [0, "none"], [0.3, "part"], [0.6, "most"], [1.1, "all"]])("a share of %f is %s", (share, value) => {
    expect(shareChoice(share)).toBe(value);
  });
});

describe("words", () => {
  test("changes have sign, unit and a verb", () => {
    expect(movedText(0.77, 0.12)).toBe("fell from 77% to 12% (−65.0 points)");
    expect(movedText(0.5, 0.501)).toBe("stayed at 50%");
    expect(points(0.123)).toBe("+12.3 points");
  });

  test("parts are said as one would say them", () => {
    expect(["L3H4", "L3.mlp", "L3.attn", "L3", "embed"].map(partWords)).toEqual(["head 4 of layer 3", "the MLP of layer 3", "the whole attention of layer 3", "layer 3 whole", "the embedding"]);
    expect(listed(["a", "b", "c", "d", "e"])).toBe("a, b, c and 2 more");
  });

  test("a KL divergence has a word and a share of its bar", () => {
    expect([0, 0.05, 0.5, 2].map(klWord)).toEqual(["hardly", "a little", "clearly", "very far"]);
    expect([0, 0.001, 0.1, 10, 50].map(klShare)).toEqual([0, 0, 0.5, 1, 1]);
  });

  test("a comparison names what either run names, the likeliest first", () => {
    const rows = changeRows(guesses([0.7, 0.2]), [{ id: 9, token: " Rome", p: 0.5 }, { id: 1, token: " the", p: 0.3 }]);
    expect(rows.map(({ token, before, after }) => [token, before, after])).toEqual([[" Paris", 0.7, null], [" Rome", null, 0.5], [" the", 0.2, 0.3]]);
  });
});

describe("part names", () => {
  test.each(["L3H4", "L3.mlp", "L12.attn", "L0"])("%s is read and written the same", (name) => {
    const named = readPart(name);
    expect(named && nameOf(named)).toBe(name);
  });

  test.each(["", "H3", "L3H", "L3.foo", "L-1", "L3H4H5", "L99999H0", "<img>"])("%s is no part", (name) => {
    expect(readPart(name)).toBeNull();
  });

  test("what the model does not have is said with the range that it has", () => {
    const facts = { name: "toy", n_layers: 2, n_heads: 4, d_mlp: 0 };
    expect(lackOf("L2H0", facts)).toMatch(/layers are 0 to 1/);
    expect(lackOf("L1H4", facts)).toMatch(/heads are 0 to 3/);
    expect(lackOf("L1.mlp", facts)).toMatch(/no MLPs/);
    expect(lackOf("L1H3", facts)).toBeNull();
  });

  test("choosing keeps the model's order, so that the same choice is the same question", () => {
    expect(toggled(toggled(["L3H4"], "L0.mlp"), "L3H1")).toEqual(["L0.mlp", "L3H1", "L3H4"]);
    expect(toggled(["L0.mlp", "L3H4"], "L0.mlp")).toEqual(["L3H4"]);
  });
});

describe("two prompts side by side", () => {
  test("equal tokens stand together, replaced ones face each other", () => {
    const rows = align(["The", " capital", " of", " France"], ["The", " capital", " of", " Italy"]);
    expect(rows.at(-1)).toEqual({ kind: "changed", left: 3, right: 3 });
    expect(rows.slice(0, 3).every(({ kind }) => kind === "same")).toBe(true);
  });

  test("an added token stands alone and the rest meets again", () => {
    expect(align(["a", "b"], ["a", "x", "b"])).toEqual([{ kind: "same", left: 0, right: 0 }, { kind: "right", right: 1 }, { kind: "same", left: 1, right: 2 }]);
    expect(align([], ["a"])).toEqual([{ kind: "right", right: 0 }]);
  });

  test("different lengths are a sentence with the way out", () => {
    expect(alignmentText(["a"], ["a", "b"])).toMatch(/1 token.*2.*until both have as many/);
    expect(alignmentText(["a"], ["a"])).toMatch(/same: change a word/);
    expect(alignmentText(["a", "b"], ["a", "c"])).toMatch(/differ in one place/);
  });
});
