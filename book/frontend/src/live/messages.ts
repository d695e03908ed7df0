// Owns the translation of kernel messages into output events. Pure; unknown messages are no outputs.

import type { KernelMessage } from "@jupyterlab/services/lib/kernel";
import type { CellError, MimeBundle, OutputEvent } from "./contract";

type Fields = Record<string, unknown>;

export function translate(message: KernelMessage.IIOPubMessage, execution: number | null): OutputEvent | null {
  const content = message.content as Fields;
  switch (message.header.msg_type) {
    case "stream":
      return {
        kind: "stream",
        name: content["name"] === "stderr" ? "stderr" : "stdout",
        text: text(content["text"]),
      };
    case "display_data":
    case "execute_result":
      return { kind: "display", bundle: bundleOf(content), displayId: displayIdOf(content) };
    case "update_display_data": {
      const displayId = displayIdOf(content);
      return displayId === null ? null : { kind: "update", bundle: bundleOf(content), displayId };
    }
    case "clear_output":
      return { kind: "clear", wait: content["wait"] === true };
    case "error":
      return { kind: "error", error: errorOf(content, execution) };
    default:
      return null;
  }
}

export function errorOf(content: object, execution: number | null): CellError {
  const fields = content as Fields;
  const traceback = Array.isArray(fields["traceback"]) ? fields["traceback"].map(text) : [];
  return { name: text(fields["ename"]) || "Error", message: text(fields["evalue"]), traceback, execution };
}

function bundleOf(content: Fields): MimeBundle {
  const data = content["data"];
  return typeof data === "object" && data !== null ? (data as MimeBundle) : {};
}

function displayIdOf(content: Fields): string | null {
  const transient = content["transient"] as Fields | undefined;
  const id = transient?.["display_id"];
  return typeof id === "string" ? id : null;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
