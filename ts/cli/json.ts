/** The documents of --json. schema.json, which the package has beside it, describes each of them. */

/** The version of the form of every document, a result's own included. It changes when a program that reads the form would break. */
export const SCHEMA_VERSION = 1

/** A document as it is printed. It begins with its version, whatever kind of document it is. */
export function documentText(value: object, oneLine: boolean): string {
  const document = { schemaVersion: SCHEMA_VERSION, ...value }
  return `${oneLine ? JSON.stringify(document) : JSON.stringify(document, null, 2)}\n`
}
