// Owns how a failure of the book's server becomes a sentence and a way out. Refuses to show a bare status code.

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly status: number;
}

export class ServerError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
    this.name = "ServerError";
  }
}

const RESTART = "Start it with `python3 noxfile.py serve`, open the address that it prints, and try again.";

/** Read the problem that an answer with an error status describes. */
export async function problemOf(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => null);
  return parseProblem(body, response.status);
}

export function parseProblem(raw: unknown, status: number): Problem {
  const fields = typeof raw === "object" && raw !== null ? (raw as Record<string, unknown>) : {};
  const text = (value: unknown, otherwise: string): string =>
    typeof value === "string" && value.trim() !== "" ? value : otherwise;
  return {
    code: text(fields["code"], "unexpected-answer"),
    message: text(fields["message"], `The book's server answered with an error (${status}).`),
    hint: text(fields["hint"], "Try again in a moment; if it stays so, reload the page."),
    status: typeof fields["status"] === "number" ? fields["status"] : status,
  };
}

/** The problem behind anything that was thrown on the way to the server. */
export function problemFrom(thrown: unknown): Problem {
  if (isServerError(thrown)) return thrown.problem;
  if (!isUnreachable(thrown)) return ownFault(thrown);
  return { code: "unreachable", message: "The book's server cannot be reached.", hint: RESTART, status: 0 };
}

/** A script of the book that did not load: its server is gone. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

// Each script of the page has its own copy of these classes, so `instanceof` would not know the others' errors.
function isServerError(thrown: unknown): thrown is ServerError {
  return thrown instanceof Error && thrown.name === "ServerError" && "problem" in thrown;
}

/** What `fetch` throws without a connection is worded differently from browser to browser. */
function isUnreachable(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  return thrown.name === "Unreachable" || (thrown instanceof TypeError && /fetch|network|load failed/i.test(thrown.message));
}

function ownFault(thrown: unknown): Problem {
  console.error(thrown);
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return {
    code: "page-fault",
    message: `The page's own code failed (${reason}).`,
    hint: "Reload the page; if it stays so, please report it with this sentence.",
    status: 0,
  };
}

export const OFFLINE_COPY: Problem = {
  code: "offline-copy",
  message: "This is the offline copy: its cells show their stored outputs and cannot run here.",
  hint: "To run them, start the book on your own machine with `python3 noxfile.py serve` and open the address it prints.",
  status: 0,
};

/** Split a sentence at its backticks, so that commands can be set as code: odd pieces are code. */
export function codePieces(text: string): string[] {
  return text.split("`");
}
