/** What helps where libvirt cannot be used. `dirtyrate doctor`, `list` and the errors say it. */

import {
  AS_ROOT_COMMAND,
  type Group,
  groups,
  joinCommand,
  membershipIn,
  userName,
} from '../../ground/groups.js'

export const VIRSH_PACKAGES =
  'Install virsh: apt install libvirt-clients, dnf install libvirt-client, zypper install libvirt-client'
export const START_LIBVIRT =
  'Start it: sudo systemctl start libvirtd (or virtqemud.socket where libvirt has a daemon for each driver)'

/** The group to which distributions open the socket of libvirt's daemon. */
const LIBVIRT_GROUP = 'libvirt'

/** What helps a user whom libvirt refuses. */
export function whenRefused(
  group: Group | undefined = groups().find(({ name }) => name === LIBVIRT_GROUP),
  user: string | undefined = userName(),
): string {
  const membership = group === undefined ? undefined : membershipIn(group, user)
  if (membership === 'later')
    return `This user is in the group ${LIBVIRT_GROUP}, but has not logged in since: log in again`
  if (membership === 'none')
    return `Join the group, then log in again: ${joinCommand(LIBVIRT_GROUP, user)}. Or run it as root: ${AS_ROOT_COMMAND}`
  const why =
    membership === undefined
      ? `This host has no group ${LIBVIRT_GROUP}`
      : `This user is in the group ${LIBVIRT_GROUP} already, so a rule of polkit or the settings of the daemon refuse it`
  return `${why}. Run it as root: ${AS_ROOT_COMMAND}`
}
