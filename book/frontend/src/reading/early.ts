// Entry that runs before the first paint: light or dark, so that a dark page never flashes white.

const root = document.documentElement;

function stored(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

const mode = stored("mode") ?? root.dataset["theme"] ?? "auto";
const isDark = mode === "dark" || (mode !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
root.dataset["mode"] = mode;
root.dataset["theme"] = isDark ? "dark" : "light";
