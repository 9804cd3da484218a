/** The option of the command line for one of the library: `--device-state` for `deviceState`. */
export const flagOf = (option: string): string =>
  `--${option.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
