// Owns outputs in the form that notebooks store, as the Output widget keeps them. Pure.

import type { MimeBundle, OutputEvent } from "../live/contract";

export type StoredOutput = Readonly<Record<string, unknown>>;

/** The events that draw stored outputs; what is no output is left out. */
export function eventsOf(outputs: unknown): OutputEvent[] {
  return Array.isArray(outputs) ? outputs.flatMap((output) => eventOf(output as StoredOutput)) : [];
}

function eventOf(output: StoredOutput | null): OutputEvent[] {
  switch (output?.["output_type"]) {
    case "stream":
      return [{ kind: "stream", name: output["name"] === "stderr" ? "stderr" : "stdout", text: joined(output["text"]) }];
    case "display_data":
    case "execute_result":
      return [{ kind: "display", bundle: (output["data"] ?? {}) as MimeBundle, displayId: null }];
    case "error": {
      const traceback = Array.isArray(output["traceback"]) ? output["traceback"].map(joined) : [];
      return [{ kind: "error", error: { name: joined(output["ename"]) || "Error", message: joined(output["evalue"]), traceback, execution: null } }];
    }
    default:
      return [];
  }
}

/** The outputs after one more event; one stream's pieces are joined. */
export function appended(outputs: readonly StoredOutput[], event: OutputEvent): StoredOutput[] {
  switch (event.kind) {
    case "clear":
      return [];
    case "ask":
    case "update":
      return [...outputs];
    case "display":
      return [...outputs, { output_type: "display_data", data: event.bundle, metadata: {} }];
    case "error": {
      const { name, message, traceback } = event.error;
      return [...outputs, { output_type: "error", ename: name, evalue: message, traceback }];
    }
    case "stream": {
      const last = outputs.at(-1);
      const continues = last?.["output_type"] === "stream" && last["name"] === event.name;
      const text = (continues ? joined(last["text"]) : "") + event.text;
      return [...(continues ? outputs.slice(0, -1) : outputs), { output_type: "stream", name: event.name, text }];
    }
  }
}

function joined(value: unknown): string {
  return Array.isArray(value) ? value.join("") : typeof value === "string" ? value : "";
}
