/**
 * Text with simple formatting → DOM nodes: paragraphs, headings, lists, code, **bold**, *stressed*, `code` and links. What a server
 * sends is only ever text of a node; nothing here reads HTML.
 */

/** An element: properties such as `className`, or attributes such as `aria-label`; what is null is left out. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The same address, if it leads to a web page, else null: `javascript:` and the like are never a link. */
export function webAddress(text) {
  if (typeof text !== "string" || !/^https?:\/\//i.test(text)) return null;
  try {
    return new URL(text).href;
  } catch {
    return null;
  }
}

export function link(address, ...children) {
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer", title: address }, ...children);
}

/** A growing text. What is finished of it is never drawn again, so that a selection in it stays. */
export class Text {
  value = "";
  node = element("div", { className: "text", dir: "auto" });
  #shown = [];

  /** Draws the text as it is now; returns how many of its blocks will not change any more. */
  draw() {
    const blocks = blocksOf(this.value);
    let same = 0;
    while (same < blocks.length && keyOf(blocks[same]) === this.#shown[same]) same++;
    while (this.node.childNodes.length > same) this.node.lastChild.remove();
    for (const block of blocks.slice(same)) this.node.append(drawn(block));
    this.#shown = blocks.map(keyOf);
    return Math.max(blocks.length - 1, 0);
  }
}

const keyOf = ({ kind, lines, start }) => `${kind} ${start ?? ""} ${lines.join("\n")}`;

const FENCE = /^\s*(```|~~~)/;
const KINDS = [
  ["heading", /^#{1,6}\s+/],
  ["bullets", /^\s*[-*•]\s+/],
  ["numbers", /^\s*\d{1,9}[.)]\s+/],
];

/** Cuts text into blocks: `{ kind, lines }`, marks removed. */
export function blocksOf(text) {
  const blocks = [];
  let open = null; // the block that the next line may still belong to
  let fence = null;
  for (const line of text.split("\n")) {
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      if (mark === fence) open = fence = null;
      else open.lines.push(line);
    } else if (mark) {
      fence = mark;
      blocks.push((open = { kind: "code", lines: [] }));
    } else if (!line.trim()) {
      open = open?.kind === "paragraph" ? null : open;
    } else {
      const [kind, pattern] = KINDS.find(([, pattern]) => pattern.test(line)) ?? ["paragraph", /^/];
      const rest = line.replace(pattern, "");
      if (open?.kind === kind && kind !== "heading") {
        open.lines.push(rest);
      } else if (open && kind === "paragraph" && open.kind !== "heading" && /^\s/.test(line)) {
        open.lines[open.lines.length - 1] += `\n${line.trim()}`; // goes on within an item
      } else {
        blocks.push((open = { kind, lines: [rest], start: parseInt(line, 10) || null }));
      }
    }
  }
  return blocks;
}

function drawn({ kind, lines, start }) {
  const items = () => lines.map((line) => element("li", {}, ...inline(line)));
  if (kind === "code") return element("pre", { tabIndex: 0 }, element("code", { textContent: lines.join("\n") }));
  if (kind === "heading") return element("p", { className: "heading" }, ...inline(lines[0]));
  if (kind === "bullets") return element("ul", {}, ...items());
  if (kind === "numbers") return element("ol", { start: start ?? 1 }, ...items());
  return element("p", {}, ...inline(lines.join("\n")));
}

// Nowhere may a try that fails read far and begin again at the next character: a text may be made to take minutes.
const INLINE =
  /`([^`\n]+)`|\*\*(?=\S)([^*]+?)\*\*|(?<![\w*])\*(?=\S)([^*\n]*\S)\*(?![\w*])|\[([^[\]\n]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"'`]+)/gi;

/** What ends a sentence, and no address. */
const TRAILING = /(?<![.,;:!?)\]。，；：！？）】])[.,;:!?)\]。，；：！？）】]+$/;

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, bold, stressed, label, target, bare] = found;
    const shown = bare ? bare.replace(TRAILING, "") : whole;
    const address = webAddress(target ?? (bare && shown));
    let node = shown;
    if (code) node = element("code", { textContent: code });
    else if (bold) node = element("strong", { textContent: bold });
    else if (stressed) node = element("em", { textContent: stressed });
    else if (address) node = link(address, label ?? shown);
    nodes.push(text.slice(end, found.index), node);
    end = found.index + shown.length;
  }
  return [...nodes, text.slice(end)];
}
