// Owns which names a cell's code binds and which it reads first. Pure; it knows Python's grammar, not its meaning.

import type { SyntaxNode } from "@lezer/common";
import { parser } from "@lezer/python";
import type { CellNames } from "./contract";

/** Names that are always there. One that is missing here costs nothing: only names that another cell binds are asked about. */
const ALWAYS = new Set("print len range str int float list dict set tuple bool type None True False self display".split(" "));

/** Read in the order in which Python runs: a name counts as read only if the cell has not bound it before. */
export function namesOf(code: string): CellNames {
  const tree = parser.parse(code);
  const reading = new Reading(code);
  reading.visit(tree.topNode);
  // Of code that the grammar does not know, nobody can say for sure what it reads.
  const isSure = !hasErrors(tree.topNode);
  return { defines: [...reading.bound], uses: isSure ? [...reading.read].filter((name) => !ALWAYS.has(name)) : [] };
}

function hasErrors(top: SyntaxNode): boolean {
  const cursor = top.cursor();
  do {
    if (cursor.type.isError) return true;
  } while (cursor.next());
  return false;
}

class Reading {
  readonly bound = new Set<string>();
  readonly read = new Set<string>();
  /** Names of functions, lambdas and comprehensions around the place, innermost last. */
  #inner: Set<string>[] = [];
  /** Bodies of functions run later: what the cell binds after them is there by then. */
  #later: (() => void)[] = [];

  constructor(private readonly code: string) {}

  visit(node: SyntaxNode): void {
    switch (node.name) {
      case "Script":
        this.#children(node);
        while (this.#later.length > 0) this.#later.shift()?.();
        return;
      case "AssignStatement":
        return this.#assignment(node);
      case "UpdateStatement":
        return this.#children(node);
      case "NamedExpression":
        return this.#assignment(node);
      case "CapturePattern":
        return this.#binds(node);
      case "ForStatement":
        return this.#loop(node);
      case "ImportStatement":
        return this.#imports(node);
      case "FunctionDefinition":
        return this.#function(node);
      case "LambdaExpression":
        return this.#scope(() => this.#parametersAndBody(node));
      case "ClassDefinition":
        return this.#class(node);
      case "ComprehensionExpression":
      case "ArrayComprehensionExpression":
      case "DictionaryComprehensionExpression":
      case "SetComprehensionExpression":
        return this.#comprehension(node);
      case "WithStatement":
      case "TryStatement":
        return this.#withAliases(node);
      case "ScopeStatement":
        return undefined;
      case "ArgList":
        return this.#arguments(node);
      case "VariableName":
        return this.#reads(node);
      default:
        return this.#children(node);
    }
  }

  #children(node: SyntaxNode): void {
    for (const child of childrenOf(node)) this.visit(child);
  }

  #reads(node: SyntaxNode): void {
    const name = this.#text(node);
    if (!this.bound.has(name) && !this.#inner.some((scope) => scope.has(name))) this.read.add(name);
  }

  #binds(node: SyntaxNode): void {
    const scope = this.#inner.at(-1) ?? this.bound;
    if (node.name === "VariableName") scope.add(this.#text(node));
    else if (node.name === "MemberExpression") this.visit(node);
    else childrenOf(node).forEach((child) => this.#binds(child));
  }

  /** `a, b = c = value`: the value first, then every target; annotations are read. */
  #assignment(node: SyntaxNode): void {
    const parts = childrenOf(node);
    const last = parts.findLastIndex(({ name }) => name === "AssignOp");
    const targets = parts.slice(0, last === -1 ? parts.length : last);
    if (last !== -1) parts.slice(last + 1).forEach((part) => this.visit(part));
    for (const target of targets) {
      if (target.name === "TypeDef") this.visit(target);
      else if (last !== -1) this.#binds(target);
    }
  }

  #loop(node: SyntaxNode): void {
    const parts = childrenOf(node);
    const at = parts.findIndex(({ name }) => name === "in");
    const value = parts[at + 1];
    if (value) this.visit(value);
    parts.slice(1, at).forEach((part) => this.#binds(part));
    parts.slice(at + 2).forEach((part) => this.visit(part));
  }

  /** `import a.b as c`, `from a import b as c`: the last name before a comma counts, for `import a.b` the first. */
  #imports(node: SyntaxNode): void {
    const parts = childrenOf(node);
    const from = parts.findIndex(({ name }) => name === "from");
    const start = parts.findIndex(({ name }) => name === "import") + 1;
    let item: SyntaxNode[] = [];
    const end = (): void => {
      const names = item.filter(({ name }) => name === "VariableName");
      const isRenamed = item.some(({ name }) => name === "as");
      const bound = from === -1 && !isRenamed ? names[0] : names.at(-1);
      if (bound) this.#binds(bound);
      item = [];
    };
    for (const part of parts.slice(start)) {
      if (part.name === ",") end();
      else item.push(part);
    }
    end();
  }

  #function(node: SyntaxNode): void {
    const name = node.getChild("VariableName");
    if (name) this.#binds(name);
    const around = [...this.#inner];
    this.#later.push(() => {
      const outside = this.#inner;
      this.#inner = around;
      this.#scope(() => this.#parametersAndBody(node));
      this.#inner = outside;
    });
  }

  #parametersAndBody(node: SyntaxNode): void {
    const parameters = node.getChild("ParamList");
    if (parameters) this.#parameters(parameters);
    const body = node.getChild("Body");
    // What a function assigns anywhere is its own.
    if (body) this.#collectLocals(body);
    for (const child of childrenOf(node)) {
      if (child.name === "VariableName" && node.name === "FunctionDefinition") continue;
      if (child.name !== "ParamList") this.visit(child);
    }
  }

  #parameters(list: SyntaxNode): void {
    let isValue = false;
    for (const child of childrenOf(list)) {
      if (child.name === ",") isValue = false;
      else if (child.name === "AssignOp") isValue = true;
      else if (isValue || child.name === "TypeDef") this.visit(child);
      else if (child.name === "VariableName") this.#inner.at(-1)?.add(this.#text(child));
    }
  }

  #collectLocals(body: SyntaxNode): void {
    const inside = new Reading(this.code);
    childrenOf(body).forEach((child) => inside.visit(child));
    for (const name of inside.bound) this.#inner.at(-1)?.add(name);
  }

  #class(node: SyntaxNode): void {
    const name = node.getChild("VariableName");
    this.#scope(() => childrenOf(node).forEach((child) => child.name !== "VariableName" && this.visit(child)));
    if (name) this.#binds(name);
  }

  /** `[f(x) for x in xs if x]`: the loops come first, though they are written last. */
  #comprehension(node: SyntaxNode): void {
    const parts = childrenOf(node);
    const first = parts.findIndex(({ name }) => name === "for");
    this.#scope(() => {
      let isTarget = false;
      for (const part of parts.slice(first)) {
        if (part.name === "for") isTarget = true;
        else if (part.name === "in") isTarget = false;
        else if (isTarget) this.#binds(part);
        else this.visit(part);
      }
      parts.slice(0, first).forEach((part) => this.visit(part));
    });
  }

  /** `with a as b`, `except E as e`: what follows `as` is bound. */
  #withAliases(node: SyntaxNode): void {
    let isAlias = false;
    for (const part of childrenOf(node)) {
      if (isAlias) this.#binds(part);
      else this.visit(part);
      isAlias = part.name === "as";
    }
  }

  /** In `f(name=value)` the name is the function's, not the cell's. */
  #arguments(list: SyntaxNode): void {
    const parts = childrenOf(list);
    if (parts.some(({ name }) => name === "for")) return this.#comprehension(list);
    parts.forEach((part, index) => {
      const isKeyword = part.name === "VariableName" && parts[index + 1]?.name === "AssignOp";
      if (!isKeyword) this.visit(part);
    });
  }

  #scope(act: () => void): void {
    this.#inner.push(new Set());
    act();
    this.#inner.pop();
  }

  #text(node: SyntaxNode): string {
    return this.code.slice(node.from, node.to);
  }
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(child);
  return children;
}
