// Owns the connection to one kernel. The only module that runs @jupyterlab/services.

import { CommsOverSubshells, KernelConnection, type Kernel, type KernelMessage } from "@jupyterlab/services/lib/kernel";
import { ServerConnection } from "@jupyterlab/services/lib/serverconnection";
import type { Host } from "../parts";
import type { Reader } from "../reader";
import { ServerError, type Problem } from "../server_error";
import { characters, completionsOf, existing, inspectionOf, whichExist } from "./assistance";
import type { CellError, Completions, KernelEvents, KernelLimits, LiveKernel, MimeBundle, OutputEvent, Question, RunResult } from "./contract";
import { errorOf, translate } from "./messages";
import { nextConnection } from "./next_connection";
import { ask, kernelPath, limitsOf, obtain } from "./service";
import { setPresentWidgets, WidgetSession } from "./widget_session";

/** The last words of a run that ended while the connection was away may still be under way. */
const LAST_WORDS_MS = 500;
/** A socket that closes so often in a row stays closed. */
const MAX_POLITE_CLOSES = 3;

/** Ask the service for a kernel, the kept one if it is still there, and connect to it. */
export async function openKernel(host: Host, events: KernelEvents, kept: string | null): Promise<LiveKernel> {
  const { reader } = host;
  const { model, isKept } = await obtain(reader, kept, (place) => events.onWaiting(place));
  const serverSettings = ServerConnection.makeSettings({
    baseUrl: reader.root,
    wsUrl: reader.root.replace(/^http/, "ws"),
    token: await reader.token(),
    appendToken: true,
  });
  const ending = new AbortController();
  let isGivenUp: Problem | null = null;
  const getModel = async (id: string): Promise<Kernel.IModel> => {
    const found = await ask(reader, id, {
      onWait: () => events.onReconnecting(),
      onGiveUp: (problem) => (isGivenUp = problem),
      signal: ending.signal,
    });
    // The token may have been renewed meanwhile; the library reads it again for each socket.
    Object.assign(serverSettings, { token: await reader.token() });
    return found;
  };
  const connection = new KernelConnection({
    model,
    serverSettings,
    handleComms: true,
    commsOverSubshells: CommsOverSubshells.Disabled,
    // Of its own accord the library asks again only after 10 to 30 seconds. It asks this client for nothing else.
    kernelAPIClient: { getModel } as unknown as Kernel.IKernelAPIClient,
  });
  const widgets = new WidgetSession(host, (messageId, hear) => divert(connection, messageId, hear));
  connection.registerCommTarget("jupyter.widget", (comm, message) => widgets.opened(comm, message));
  connection.disposed.connect(() => widgets.disconnect());
  setPresentWidgets(widgets);
  const told: KernelEvents = {
    ...events,
    onDead: (end) => (isGivenUp ? events.onFailed(isGivenUp) : events.onDead(end)),
  };
  const kernel = new ConnectedKernel(connection, reader, told, limitsOf(model), isKept, ending);
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
  #politeCloses = 0;
  /** Questions beside the runs, for which the page need not call the kernel busy. */
  #nQuiet = 0;
  /** Ends the present run as one whose end nobody saw. */
  #endUnseen: (() => void) | null = null;

  constructor(
    private readonly connection: KernelConnection,
    private readonly reader: Reader,
    private readonly events: KernelEvents,
    readonly limits: KernelLimits | null,
    readonly isKept: boolean,
    private readonly ending: AbortController,
  ) {}

  get id(): string {
    return this.connection.id;
  }

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
    const unseen = new Promise<"unseen">((resolve) => (this.#endUnseen = () => resolve("unseen")));
    const over = Promise.race([future.done.then(nothing, nothing), unseen.then(nothing)]);
    future.onStdin = (message) => {
      const question = this.#question(message, over);
      if (question) onOutput({ kind: "ask", question });
    };
    try {
      const reply = await Promise.race([future.done, unseen]);
      if (reply === "unseen") {
        future.dispose();
        return shown ? { kind: "error", error: shown } : { kind: "unseen" };
      }
      const { content } = reply;
      if (content.status === "ok") return { kind: "ok", execution };
      return content.status === "error" ? { kind: "error", error: shown ?? errorOf(content, execution) } : { kind: "lost" };
    } catch {
      // The connection was closed under the run: whoever closed it has told the page why.
      return { kind: "lost" };
    } finally {
      this.#endUnseen = null;
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

  async show(code: string): Promise<MimeBundle> {
    const future = this.connection.requestExecute({ code, store_history: false, stop_on_error: false });
    const seen: OutputEvent[] = [];
    future.onIOPub = (message) => {
      const event = translate(message, null);
      if (event) seen.push(event);
    };
    await this.#quietly(future.done);
    for (const event of seen) {
      if (event.kind === "display") return event.bundle;
      if (event.kind === "error") throw new ServerError(saidBy(event.error));
    }
    throw new ServerError(SHOWED_NOTHING);
  }

  async interrupt(): Promise<void> {
    await this.reader.fetch(`${kernelPath(this.id)}/interrupt`, { method: "POST" });
  }

  async touch(): Promise<void> {
    await this.#quietly(this.connection.requestExecute({ code: "", silent: true, store_history: false }).done);
  }

  async complete(code: string, at: number): Promise<Completions> {
    const { content } = await this.#quietly(this.connection.requestComplete({ code, cursor_pos: characters(code, at) }));
    return completionsOf(code, content);
  }

  async inspect(code: string, at: number): Promise<string> {
    const question = { code, cursor_pos: characters(code, at), detail_level: 0 } as const;
    return inspectionOf((await this.#quietly(this.connection.requestInspect(question))).content);
  }

  async known(names: readonly string[]): Promise<ReadonlySet<string>> {
    const user_expressions = { names: whichExist(names) };
    const question = { code: "", silent: true, store_history: false, user_expressions };
    return existing((await this.#quietly(this.connection.requestExecute(question).done)).content);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.ending.abort();
    if (this.#isReviving) void nextConnection(this.connection).catch(() => undefined).finally(() => this.#end());
    else this.#end();
  }

  leave(): void {
    this.#isClosed = true;
    this.ending.abort();
    this.connection.dispose();
  }

  async #quietly<T>(answer: Promise<T>): Promise<T> {
    this.#nQuiet += 1;
    return answer.finally(() => (this.#nQuiet -= 1));
  }

  #end(): void {
    this.reader.farewell(kernelPath(this.id), "DELETE");
    this.connection.dispose();
  }

  #onStatus(status: Kernel.Status): void {
    if (this.#isClosed) return;
    switch (status) {
      case "busy":
        return this.#nQuiet > 0 && this.#endUnseen === null ? undefined : this.events.onBusy(true);
      case "idle":
        return this.events.onBusy(false);
      case "autorestarting":
        // A kernel that the server revives has forgotten everything: for the reader it is a dead one.
        this.#isReviving = true;
        return this.events.onDead("died");
      case "dead":
        return this.events.onDead("gone");
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
        this.#politeCloses = 0;
        if (this.#endUnseen) void this.#awaitEndOfRun();
        return this.#endUnseen ? this.events.onBusy(true) : this.events.onReady();
      case "disconnected":
        // A server that stops closes its sockets politely, and the library takes that for a wish: the kernel is asked after.
        this.#politeCloses += 1;
        if (this.#politeCloses > MAX_POLITE_CLOSES) return this.events.onFailed(DISCONNECTED);
        void this.connection.reconnect().catch(() => undefined);
        return undefined;
    }
  }

  /** A kernel answers one after the other: once it answers this, the run before it is over. */
  async #awaitEndOfRun(): Promise<void> {
    const end = this.#endUnseen;
    await this.connection.requestKernelInfo().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    if (this.connection.connectionStatus === "connected" && end === this.#endUnseen) end?.();
  }
}

function saidBy({ name, message }: CellError): Problem {
  return { code: name, message: `The kernel could not do this (${name}: ${message}).`, hint: "Start a new kernel and try again.", status: 0 };
}

const SHOWED_NOTHING: Problem = { code: "showed-nothing", message: "The kernel answered with nothing to show.", hint: "Start a new kernel and try again.", status: 0 };

const DISCONNECTED: Problem = {
  code: "disconnected",
  message: "The connection to the kernel was lost.",
  hint: "Check that the book's server still runs, then start a new kernel.",
  status: 0,
};
