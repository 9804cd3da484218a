/**
 * The version of this package, for code that may run without its package.json because it was
 * bundled.
 */

export const version = '0.1.0'
