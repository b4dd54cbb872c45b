// Lints the widgets' JavaScript and its tests. Run from the top of the checkout: `npm --prefix tests/js run lint`.
import js from "@eslint/js";
import globals from "globals";

// Model text, titles and names are hostile: they become nodes and text, never markup or code.
const NEVER_MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "createContextualFragment", "srcdoc"];
const member = (name) => ({
  selector: `MemberExpression[property.name="${name}"], MemberExpression[property.value="${name}"]`,
  message: "Text is hostile: build nodes by createElement and textContent.",
});

const COMMON = {
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-script-url": "error",
  "no-var": "error",
  "prefer-const": "error",
  eqeqeq: "error",
  "no-console": "error",
  "no-unused-vars": ["error", { args: "after-used" }],
};

export default [
  { ignores: ["**/node_modules/"] },
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["beatra_nb/display/assets/*.js"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    rules: {
      ...COMMON,
      "no-restricted-properties": [
        "error",
        { object: "document", property: "activeElement", message: "A widget may live in a shadow tree: focusIn() of panel.js." },
      ],
      "no-restricted-syntax": [
        "error",
        ...NEVER_MARKUP.map(member),
        { selector: "CallExpression[callee.object.name='document'][callee.property.name=/^write/]", message: "Text is hostile." },
      ],
    },
  },
  // Runs where it stands in a page, not as a module.
  { files: ["beatra_nb/display/assets/copy.js"], languageOptions: { sourceType: "script" } },
  {
    files: ["tests/js/**/*.{js,mjs}"],
    languageOptions: { ecmaVersion: 2025, sourceType: "module", globals: { ...globals.node, ...globals.browser } },
    rules: COMMON,
  },
];
