// Owns the form in which a reader commits to a prediction before a run: one scale, one click, and a way to skip it.

import { el } from "../../dom";
import type { Forecast } from "./forecasts";

const KEY = "tl-lab-predict";

/** Whether the reader wants to be asked; a browser that keeps nothing asks. */
export function wantsToPredict(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

export function setWantsToPredict(isWanted: boolean): void {
  try {
    if (isWanted) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "off");
  } catch {
    // Private windows may refuse to keep it: then it holds until the page is left.
  }
}

let counter = 0;

/** A scale of radio buttons; `onChoose` hears each choice's value. */
export function forecastForm(forecast: Forecast, chosen: string, onChoose: (value: string) => void, signal: AbortSignal): HTMLElement {
  const group = `lab-forecast-${(counter += 1)}`;
  const said = el("output", { class: "lab-forecast-said" });
  const say = (value: string): void => {
    const choice = forecast.choices.find((each) => each.value === value);
    said.textContent = choice ? `You say: ${choice.words}.` : "Not chosen yet.";
  };
  const scale = el("div", { class: "lab-scale" });
  for (const { value, sign, words } of forecast.choices) {
    const radio = el("input", { type: "radio", name: group, value, "aria-label": words, checked: value === chosen });
    radio.addEventListener("change", () => {
      say(value);
      onChoose(value);
    }, { signal });
    scale.append(el("label", { class: "lab-scale-step", title: words, "data-way": value.split(" ")[0] ?? "" }, radio, el("span", { "aria-hidden": "true" }, sign)));
  }
  say(chosen);
  return el("fieldset", { class: "lab-forecast" }, el("legend", {}, forecast.asks), scale, said);
}
