import { describe, expect, test } from "vitest";
import { firstSentence, nameOfFigure } from "../src/figures/summary";

describe("a figure's name", () => {
  test("ends at a full stop, and not at a decimal point or inside a quotation", () => {
    expect(firstSentence("It falls from 77.3 % to 0.1 %. Other methods differ.")).toBe("It falls from 77.3 % to 0.1 %.");
    expect(firstSentence("After 'The U.S. is' it says ' the' (3.5 %).\nMore")).toBe("After 'The U.S. is' it says ' the' (3.5 %).");
  });

  test("stays short, whatever the twin is", () => {
    expect(firstSentence("word ".repeat(200)).length).toBeLessThan(245);
    expect(nameOfFigure("Lens", "")).toBe("Interactive figure: Lens");
    expect(nameOfFigure(null, "")).toBe("Interactive figure: see the text below it");
    expect(nameOfFigure("Lens", "It says x. Then y.")).toBe("Interactive figure: Lens. It says x.");
    expect(nameOfFigure(null, "It says x.")).toBe("Interactive figure: It says x.");
  });
});
