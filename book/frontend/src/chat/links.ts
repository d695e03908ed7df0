// Owns which addresses a citation may lead to: pages of this book, and nothing else. Pure.

const PAGE = /^(?:[\w-][\w.-]*\/)*[\w-][\w.-]*\.html(?:#[\w.:%-]+)?$/;

/** The address of a cited page from here, or null when it is not a page of the book. */
export function bookLink(root: string, url: string): string | null {
  return PAGE.test(url) && !url.includes("..") ? root + url : null;
}
