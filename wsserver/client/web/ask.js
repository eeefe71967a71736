/** A question of a turn: buttons where there is a choice, a field where something is to be written. */

import { element } from "./format.js";

/**
 * The form of an `ask` event. `send(value)` is called for an answer and returns a promise; where it is rejected, the
 * form can be used again. `close()` ends it: nobody waits for an answer any more.
 */
export function askForm({ message, schema }, send) {
  const node = element("form", { className: "ask", ariaLabel: "Question" });
  const question = element("p", { className: "question", dir: "auto", textContent: message });
  const body = element("fieldset", {}, element("legend", { className: "unseen", textContent: message }));
  const outcome = element("p", { className: "outcome", role: "status" });
  let answered = false;

  async function answer(value, shown) {
    body.disabled = true;
    outcome.textContent = "";
    try {
      await send(value);
      answered = true;
      outcome.textContent = `You answered: ${shown}`;
      body.hidden = true;
    } catch (error) {
      body.disabled = false;
      outcome.textContent = error.message;
    }
  }

  const choices = choicesOf(schema ?? {});
  if (choices) {
    for (const [label, value] of choices) {
      const button = element("button", { type: "button", textContent: label });
      button.onclick = () => answer(value, label);
      body.append(button);
    }
  } else {
    const [field, read] = fieldOf(schema ?? {});
    field.ariaLabel = message;
    field.required = true;
    body.append(field, element("button", { type: "submit", textContent: "Answer" }));
    node.onsubmit = () => {
      field.setCustomValidity("");
      try {
        answer(read(), field.value);
      } catch (error) {
        field.setCustomValidity(error.message);
        field.reportValidity();
      }
    };
    field.oninput = () => field.setCustomValidity("");
  }
  node.addEventListener("submit", (event) => event.preventDefault());
  node.append(question, body, outcome);

  function close() {
    if (answered || body.hidden) return;
    body.disabled = body.hidden = true;
    outcome.textContent = "No answer is needed any more.";
  }

  return { node, close };
}

function choicesOf(schema) {
  const { type, enum: values } = schema;
  if (type === "boolean")
    return [
      ["Yes", true],
      ["No", false],
    ];
  if (Array.isArray(values))
    return values.map((value) => [typeof value === "string" ? value : JSON.stringify(value), value]);
  return null;
}

/** A field, and what reads it: throws where it holds nothing of that kind. */
function fieldOf(schema) {
  const { type, minimum, maximum, minLength, maxLength } = schema;
  if (type === "number" || type === "integer") {
    const field = element("input", {
      type: "number",
      step: type === "integer" ? "1" : "any",
      min: minimum,
      max: maximum,
    });
    return [field, () => field.valueAsNumber];
  }
  if (type === "string" || type === undefined) {
    const field = element("input", { type: "text", dir: "auto", autocomplete: "off" });
    if (minLength > 0) field.minLength = minLength;
    if (maxLength > 0) field.maxLength = maxLength;
    return [field, () => field.value];
  }
  const field = element("textarea", { rows: 3, placeholder: "JSON", spellcheck: false });
  return [field, () => JSON.parse(field.value)];
}
