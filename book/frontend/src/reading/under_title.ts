// Owns the place under a page's title, where the scripts put what belongs to the whole page.

/** The place that the build left; in a page without one, a new one after the title. */
export function underTitle(): HTMLElement | null {
  const place = document.querySelector<HTMLElement>(".tl-under-title");
  if (place) return place;
  const title = document.querySelector("article h1, main h1, h1");
  const made = document.createElement("div");
  made.className = "tl-under-title";
  title?.after(made);
  return title && made;
}
