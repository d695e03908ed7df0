// Owns the connection to one kernel. The only module that knows @jupyterlab/services.

import { CommsOverSubshells, KernelConnection, type Kernel, type KernelMessage } from "@jupyterlab/services/lib/kernel";
import { ServerConnection } from "@jupyterlab/services/lib/serverconnection";
import type { Host } from "../parts";
import type { Reader } from "../reader";
import { ServerError, type Problem } from "../server_error";
import type { CellError, KernelEvents, LiveKernel, OutputEvent, Question, RunResult } from "./contract";
import { errorOf, translate } from "./messages";
import { setPresentWidgets, WidgetSession } from "./widget_session";

const CONNECT_TIMEOUT_MS = 20_000;

/** Ask the service for a kernel and connect to it. */
export async function openKernel(host: Host, events: KernelEvents): Promise<LiveKernel> {
  const body = JSON.stringify({ name: "tlab" });
  const response = await host.reader.fetch("api/kernels", { method: "POST", body });
  const model = (await response.json()) as Kernel.IModel;
  const root = host.reader.root;
  const serverSettings = ServerConnection.makeSettings({
    baseUrl: root,
    wsUrl: root.replace(/^http/, "ws"),
    token: await host.reader.token(),
    appendToken: true,
  });
  const connection = new KernelConnection({
    model,
    serverSettings,
    handleComms: true,
    commsOverSubshells: CommsOverSubshells.Disabled,
  });
  const widgets = new WidgetSession(host, (messageId, hear) => divert(connection, messageId, hear));
  connection.registerCommTarget("jupyter.widget", (comm, message) => widgets.opened(comm, message));
  connection.disposed.connect(() => widgets.disconnect());
  setPresentWidgets(widgets);
  const kernel = new ConnectedKernel(connection, host.reader, events);
  try {
    await kernel.connected();
  } catch (error) {
    kernel.close();
    throw error;
  }
  return kernel;
}

/** Take the outputs that answer one message away from whoever sent it. */
function divert(connection: KernelConnection, messageId: string, hear: (message: unknown) => void): () => void {
  const hook = (message: KernelMessage.IIOPubMessage): boolean => {
    if (!OUTPUTS.has(message.header.msg_type)) return true;
    hear(message);
    return false;
  };
  connection.registerMessageHook(messageId, hook);
  return () => connection.isDisposed || connection.removeMessageHook(messageId, hook);
}

const nothing = (): void => undefined;
const OUTPUTS = new Set(["stream", "display_data", "execute_result", "error", "clear_output"]);

class ConnectedKernel implements LiveKernel {
  #isClosed = false;
  /** The server starts the dead kernel again; until that is done it can neither be deleted nor let go. */
  #isReviving = false;

  constructor(
    private readonly connection: KernelConnection,
    private readonly reader: Reader,
    private readonly events: KernelEvents,
  ) {}

  /** Resolves with the first open socket; from then on the page hears what happens to the kernel. */
  async connected(): Promise<void> {
    if (this.connection.connectionStatus !== "connected") await nextConnection(this.connection);
    this.connection.statusChanged.connect((_, status) => this.#onStatus(status));
    this.connection.connectionStatusChanged.connect((_, status) => this.#onConnection(status));
  }

  async run(code: string, onOutput: (event: OutputEvent) => void): Promise<RunResult> {
    if (this.#isClosed) return { kind: "lost" };
    let shown: CellError | null = null;
    let execution: number | null = null;
    const future = this.connection.requestExecute({ code, allow_stdin: true, stop_on_error: true });
    future.onIOPub = (message) => {
      if (message.header.msg_type === "execute_input") {
        execution = (message.content as { execution_count?: number }).execution_count ?? null;
      }
      const event = translate(message, execution);
      if (event?.kind === "error") shown = event.error;
      if (event) onOutput(event);
    };
    const over = future.done.then(nothing, nothing);
    future.onStdin = (message) => {
      const question = this.#question(message, over);
      if (question) onOutput({ kind: "ask", question });
    };
    try {
      const { content } = await future.done;
      if (content.status === "ok") return { kind: "ok" };
      return content.status === "error" ? { kind: "error", error: shown ?? errorOf(content, execution) } : { kind: "lost" };
    } catch {
      // The connection was closed under the run: whoever closed it has told the page why.
      return { kind: "lost" };
    }
  }

  #question(message: KernelMessage.IStdinMessage, over: Promise<void>): Question | null {
    if (message.header.msg_type !== "input_request") return null;
    const { prompt, password } = message.content as { prompt?: unknown; password?: unknown };
    const answer = (value: string): void => {
      if (!this.#isClosed) this.connection.sendInputReply({ status: "ok", value }, message.header as KernelMessage.IInputRequestMsg["header"]);
    };
    return { prompt: typeof prompt === "string" ? prompt : "", isSecret: password === true, over, answer };
  }

  async interrupt(): Promise<void> {
    await this.reader.fetch(`${this.#path}/interrupt`, { method: "POST" });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isReviving) void nextConnection(this.connection).catch(() => undefined).finally(() => this.#end());
    else this.#end();
  }

  #end(): void {
    this.reader.farewell(this.#path, "DELETE");
    this.connection.dispose();
  }

  get #path(): string {
    return `api/kernels/${encodeURIComponent(this.connection.id)}`;
  }

  #onStatus(status: Kernel.Status): void {
    if (this.#isClosed) return;
    switch (status) {
      case "busy":
        return this.events.onBusy(true);
      case "idle":
        return this.events.onBusy(false);
      case "autorestarting":
        // A kernel that the server revives has forgotten everything: for the reader it is a dead one.
        this.#isReviving = true;
        return this.events.onDead();
      case "dead":
        return this.events.onDead();
      case "unknown":
      case "starting":
      case "restarting":
      case "terminating":
        return undefined;
      default:
        return undefined;
    }
  }

  #onConnection(status: Kernel.ConnectionStatus): void {
    if (this.#isClosed) return;
    switch (status) {
      case "connecting":
        return this.events.onReconnecting();
      case "connected":
        return this.events.onReady();
      case "disconnected":
        return this.events.onFailed(DISCONNECTED);
    }
  }
}

/** The next time that the socket opens, or the reason why it does not. */
function nextConnection(connection: KernelConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      connection.connectionStatusChanged.disconnect(listen);
      act();
    };
    const fail = (): void => settle(() => reject(new ServerError(NO_CONNECTION)));
    const listen = (_: unknown, status: Kernel.ConnectionStatus): void => {
      if (status === "connected") settle(resolve);
      if (status === "disconnected") fail();
    };
    const timer = setTimeout(fail, CONNECT_TIMEOUT_MS);
    connection.connectionStatusChanged.connect(listen);
  });
}

const DISCONNECTED: Problem = {
  code: "disconnected",
  message: "The connection to the kernel was lost.",
  hint: "Check that the book's server still runs, then start a new kernel.",
  status: 0,
};
const NO_CONNECTION: Problem = {
  code: "no-connection",
  message: "A kernel was started, but the page could not connect to it.",
  hint: "A proxy between you and the book must let WebSockets through.",
  status: 0,
};
