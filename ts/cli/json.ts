/** The documents of --json. The package's schema.json describes each of them. */

/**
 * The version of the form of every document, also of a result. It changes when the form changes in
 * a way that breaks programs which read it.
 */
export const SCHEMA_VERSION = 1

/** The text of a document. Every kind of document begins with its version. */
export function documentText(value: object, oneLine: boolean): string {
  const document = { schemaVersion: SCHEMA_VERSION, ...value }
  return `${oneLine ? JSON.stringify(document) : JSON.stringify(document, null, 2)}\n`
}
