// Owns what the Lab asks and what it is answered: the JSON between the front end and tlab/lab, the same live and frozen.

/** A part of the model as tlab names it: "L3H4", "L3.mlp", "L3.attn", "L3", "embed". */
export type Part = string;

interface Asked {
  /** A model's name as `tlab.load` takes it. */
  readonly model: string;
  readonly prompt: string;
}

export type AblationMethod = "zero" | "mean" | "resample";
export type PatchOver = "resid_pre" | "attn_out" | "mlp_out" | "head";

/** Each question is complete in itself: history, permalinks and frozen files keep nothing else. */
export type Question =
  | (Asked & { readonly ask: "open" })
  | (Asked & { readonly ask: "flow"; readonly position: number })
  | (Asked & { readonly ask: "part"; readonly part: Part; readonly position: number })
  | (Asked & { readonly ask: "lens"; readonly kind: "logit" | "tuned" })
  | (Asked & { readonly ask: "heads" })
  | (Asked & { readonly ask: "ablate"; readonly parts: readonly Part[]; readonly method: AblationMethod; readonly seed: number })
  | (Asked & { readonly ask: "head_map"; readonly method: AblationMethod; readonly seed: number })
  | (Asked & { readonly ask: "patch"; readonly corrupted: string; readonly part: Part; readonly position: number | null })
  | (Asked & { readonly ask: "patch_map"; readonly corrupted: string; readonly over: PatchOver })
  | (Asked & { readonly ask: "steer"; readonly toward: string; readonly away: string; readonly layer: number; readonly coef: number })
  | (Asked & { readonly ask: "compare"; readonly other: string })
  | (Asked & { readonly ask: "code"; readonly about: Question; readonly dialect: "tlab" | "transformer_lens" | "nnsight" | "torch" })
  | (Asked & { readonly ask: "identities" });

export type Ask = Question["ask"];

/** What every answer says about itself. `caveats` and `explain` are plain sentences, from tlab's results. */
export interface Said {
  readonly explain: string;
  readonly caveats: readonly string[];
}

export interface Token {
  readonly text: string;
  readonly id: number;
}

/** A possible next token; `p` is its probability, from 0 to 1. */
export interface Guess {
  readonly token: string;
  readonly id: number;
  readonly p: number;
}

export interface ModelFacts {
  readonly name: string;
  readonly n_layers: number;
  readonly n_heads: number;
  readonly d_model: number;
  readonly d_head: number;
  readonly d_mlp: number;
  readonly d_vocab: number;
  /** The most tokens that a prompt may have here. */
  readonly max_tokens: number;
}

export interface Identity {
  /** "attention rows sum to 1", "parts sum to the logit", "patching a run with itself changes nothing". */
  readonly name: string;
  readonly error: number;
  readonly bound: number;
  readonly holds: boolean;
}

/** Of a long prompt it comes in parts. */
export interface OpenAnswer extends Said {
  readonly facts: ModelFacts;
  readonly tokens: readonly Token[];
  /** The five likeliest next tokens at each position: [pos][k]. */
  readonly next: readonly (readonly Guess[])[];
  /** Length of the stream before each block and after the last: [layer + 1][pos]. */
  readonly stream: readonly (readonly number[])[];
  /** Length of what attention and MLP write, over the stream's before it: [layer][pos]. */
  readonly attn: readonly (readonly number[])[];
  readonly mlp: readonly (readonly number[])[];
  /** The logit lens after the embedding and each block: the likeliest token there, and the answer's probability: [layer + 1][pos]; the row of a layer that is not read yet is empty. */
  readonly lens: { readonly token: readonly (readonly string[])[]; readonly p: readonly (readonly number[])[]; readonly answer: readonly (readonly number[])[] };
  /** Direct contribution of each head to the last position's answer's logit, and of each MLP: [layer][head], [layer]; null where logits are no sum. */
  readonly direct: { readonly head: readonly (readonly number[])[]; readonly mlp: readonly number[] } | null;
}

/** What flowed to `position` in each layer: one weight for each position read, heads taken together, relative to what attention wrote. */
export interface FlowAnswer extends Said {
  readonly position: number;
  /** [layer][src_pos] */
  readonly weight: readonly (readonly number[])[];
  /** The head with the largest share of each line: [layer][src_pos] */
  readonly head: readonly (readonly number[])[];
}

interface Effect {
  readonly token: string;
  readonly effect: number;
}

export interface HeadAnswer extends Said {
  readonly kind: "head";
  readonly part: Part;
  readonly position: number;
  /** Lower triangles, row by row: [dest_pos][src_pos ≤ dest_pos]; scores are logits before the softmax, null where the model's mask forbids. */
  readonly scores: readonly (readonly (number | null)[])[];
  readonly pattern: readonly (readonly number[])[];
  /** Vectors at `position` (q, z, write) and at every position read (k, v); first 16 numbers and the length of each. */
  readonly vectors: Readonly<Record<"q" | "z" | "write", Vector>> & Readonly<Record<"k" | "v", readonly Vector[]>>;
  readonly relative_size: number;
  readonly effects: readonly Effect[];
  readonly answer: string;
  readonly answer_effect: number;
  readonly identities: readonly Identity[];
}

export interface Vector {
  readonly norm: number;
  readonly first: readonly number[];
}

export interface MlpAnswer extends Said {
  readonly kind: "mlp";
  readonly part: Part;
  readonly position: number;
  readonly n_effective: number;
  readonly answer: string;
  readonly neurons: readonly {
    readonly neuron: number;
    readonly activation: number;
    readonly length: number;
    readonly answer_effect: number;
    readonly promoted: readonly string[];
    readonly suppressed: readonly string[];
  }[];
  readonly identities: readonly Identity[];
}

export interface StreamAnswer extends Said {
  readonly kind: "stream";
  readonly part: Part;
  readonly position: number;
  /** "lens" (read as if it were the last stream) or "direct" (a write). */
  readonly reading: string;
  readonly norms: readonly number[];
  readonly effects: readonly Effect[];
}

export type PartAnswer = HeadAnswer | MlpAnswer | StreamAnswer;

export interface LensAnswer extends Said {
  readonly kind: "logit" | "tuned";
  readonly followed: string;
  /** [layer + 1][pos] */
  readonly token: readonly (readonly string[])[];
  readonly p: readonly (readonly number[])[];
  /** Probability and rank of the followed token at the last position: [layer + 1] */
  readonly followed_p: readonly number[];
  readonly followed_rank: readonly number[];
}

export interface HeadsAnswer extends Said {
  /** Name of the score ("previous token", "duplicate token", "induction", "first token") → [layer][head], from 0 to 1. */
  readonly scores: Readonly<Record<string, readonly (readonly number[])[]>>;
}

/** Before and after, always at the last position; the baseline is never lost. */
export interface BeforeAfter {
  readonly token: string;
  readonly clean: readonly Guess[];
  readonly patched: readonly Guess[];
  readonly clean_p: number;
  readonly patched_p: number;
  readonly clean_logit: number;
  readonly patched_logit: number;
  readonly kl_nats: number;
}

export interface AblateAnswer extends Said, BeforeAfter {
  readonly parts: readonly Part[];
  readonly method: AblationMethod;
  /** The likeliest next token at each position after the change: [pos]. */
  readonly next: readonly Guess[];
  /** What random other parts of the same kind do, in probability of `token`. */
  readonly controls: readonly number[];
}

/** Comes layer by layer. `effect` is patched minus clean logit of the answer. */
export interface HeadMapAnswer extends Said {
  readonly token: string;
  /** [layer][head]; null where not computed yet. */
  readonly effect: readonly (readonly (number | null)[])[];
}

export interface PatchAnswer extends Said, BeforeAfter {
  /** 0: as the corrupted run; 1: as the clean one; null where the two do not differ. */
  readonly recovered: number | null;
  /** Share that random other parts of the same kind recover. */
  readonly controls: readonly (number | null)[];
  readonly corrupted: readonly Guess[];
  readonly against: string;
}

/** Comes layer by layer. */
export interface PatchMapAnswer extends Said {
  readonly over: PatchOver;
  readonly tokens: readonly string[];
  readonly corrupted_tokens: readonly string[];
  readonly answer: string;
  readonly against: string;
  /** [layer][pos], for heads [layer][head]; 0: as corrupted, 1: as clean; null where not computed yet. */
  readonly recovered: readonly (readonly (number | null)[])[];
}

/** Comes token by token. */
export interface SteerAnswer extends Said, BeforeAfter {
  readonly layer: number;
  readonly coef: number;
  readonly push_norm: number;
  readonly stream_norm: number;
  readonly clean_text: string;
  readonly steered_text: string;
  /** Mean surprise of the unchanged model at either continuation: how much damage the push does; null until the texts are complete. */
  readonly clean_loss_nats: number | null;
  readonly steered_loss_nats: number | null;
  readonly random_kl_nats: readonly number[];
}

export interface CompareAnswer extends Said {
  readonly a: OpenAnswer;
  readonly b: OpenAnswer;
  /** Positions of a and b that belong together. */
  readonly pairs: readonly (readonly [number, number])[];
  /** Distance of the two streams over their mean length: [layer + 1][pair]. */
  readonly stream: readonly (readonly number[])[];
  /** Distance of the patterns of each head, from 0 to 1, over paired positions: [layer][head]. */
  readonly pattern: readonly (readonly number[])[];
  readonly kl_nats: number;
}

export interface CodeAnswer extends Said {
  readonly dialect: string;
  readonly code: string;
  /** The manifest that `tlab.results.Result.from_manifest` or its like replays; JSON text. */
  readonly manifest: string;
}

export interface IdentitiesAnswer extends Said {
  readonly identities: readonly Identity[];
}

export interface Answers {
  open: OpenAnswer;
  flow: FlowAnswer;
  part: PartAnswer;
  lens: LensAnswer;
  heads: HeadsAnswer;
  ablate: AblateAnswer;
  head_map: HeadMapAnswer;
  patch: PatchAnswer;
  patch_map: PatchMapAnswer;
  steer: SteerAnswer;
  compare: CompareAnswer;
  code: CodeAnswer;
  identities: IdentitiesAnswer;
}

/** A refusal in one sentence, with its way out; `code` is the error's code where the book has a page about it. */
export interface Refusal {
  readonly message: string;
  readonly code: string;
}

/** Whoever answers: a kernel, or a frozen file. */
export interface Source {
  readonly kind: "live" | "frozen";
  /** Whether this source can answer without a kernel's help; a frozen source knows what it holds. */
  can(question: Question): boolean;
  /** Rejects with a `LabRefusal` (named so), or an AbortError; `onPart` hears answers that are not complete yet. */
  ask<Q extends Question>(question: Q, signal: AbortSignal, onPart?: (soFar: Answers[Q["ask"]]) => void): Promise<Answers[Q["ask"]]>;
}

/** What travels between the anywidget and its kernel, as custom messages. */
export type ToKernel = { readonly kind: "ask"; readonly id: number; readonly question: Question } | { readonly kind: "cancel"; readonly id: number };
export type FromKernel =
  | { readonly kind: "part"; readonly id: number; readonly answer: unknown }
  | { readonly kind: "done"; readonly id: number; readonly answer: unknown }
  | { readonly kind: "refused"; readonly id: number; readonly refusal: Refusal };

/** What an embedded Lab starts with; also what a permalink holds. */
export interface LabState {
  readonly model: string;
  readonly prompt: string;
  readonly mode: Mode;
  readonly position: number | null;
  readonly part: Part | null;
  /** Experiments in order, each its question with the reader's name and prediction for it. */
  readonly history: readonly { readonly name: string; readonly question: Question; readonly predicted: string }[];
}

export type Mode = "look" | "ablate" | "patch" | "steer" | "compare" | "lens" | "heads";

/** A frozen file: `questions` are canonical JSON (keys sorted, no spaces), `answers` in the same order. */
export interface FrozenFile {
  readonly version: 1;
  readonly model: string;
  readonly prompt: string;
  readonly questions: readonly string[];
  readonly answers: readonly unknown[];
}
