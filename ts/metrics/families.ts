/**
 * Every metric that `dirtyrate serve` exports: its name, its type, its labels and its meaning. The
 * table of docs/metrics.md is made from this one.
 */

/** The name of a metric. */
export type MetricName = `dirtyrate_${string}` | `process_${string}`

/** A metric, by the name under which Prometheus stores it. The unit is at the end of the name. */
export interface Family {
  /** A counter ends in `_total`, because OpenMetrics asks for that. */
  readonly type: 'counter' | 'gauge'
  readonly labels: readonly string[]
  /** One sentence, without a full stop. */
  readonly help: string
}

/** The label that each metric of a VM has. */
const VM = ['target'] as const
const OF_LINK = [...VM, 'bandwidth', 'downtime'] as const

const counter = (labels: readonly string[], help: string): Family => ({
  type: 'counter',
  labels,
  help,
})
const gauge = (labels: readonly string[], help: string): Family => ({ type: 'gauge', labels, help })

/** Every metric, in the order in which they are exported. */
export const families: Readonly<Record<MetricName, Family>> = {
  dirtyrate_build_info: gauge(['version'], 'The version of dirtyrate, with the value 1'),
  dirtyrate_targets: gauge([], 'How many targets are measured'),
  dirtyrate_targets_left_out: gauge(
    [],
    'How many VMs were found but are not measured, because the limit of targets is reached',
  ),
  dirtyrate_discovery_successful: gauge(
    ['source'],
    '1 if the last search for VMs in this source succeeded; 0 if it failed, so that the VMs found before stay',
  ),
  dirtyrate_discovery_targets: gauge(
    ['source'],
    'How many VMs this source has found, without those that an earlier source has found',
  ),
  dirtyrate_config_last_reload_successful: gauge(
    [],
    '1, or 0 if the configuration was refused when it was last read, so that the former one stays in force',
  ),
  dirtyrate_config_last_reload_success_timestamp_seconds: gauge(
    [],
    'When a configuration was last accepted, since the Epoch',
  ),
  dirtyrate_budget_ratio: gauge(
    [],
    'The CPU time that measuring may take, in CPUs; absent without a budget',
  ),
  dirtyrate_otlp_pushes_total: counter(
    ['result'],
    'Requests that pushed metrics by OTLP, by their result: accepted or failed',
  ),
  dirtyrate_measuring_cpu_seconds_total: counter(
    [],
    'The CPU time of this process and of its children, without the guests that it runs itself',
  ),
  dirtyrate_period_stretch_ratio: gauge(
    [],
    'How many times longer than asked all periods were in the last minute, to keep the budget',
  ),

  dirtyrate_target_up: gauge(
    VM,
    '1 if the last round of the target measured it, or followed its migration, and 0 if it failed',
  ),
  dirtyrate_target_info: gauge(
    [...VM, 'name', 'mode', 'software'],
    'The name of the VM, the mode of its last measurement and the software that runs it, with the value 1',
  ),
  dirtyrate_target_period_seconds: gauge(VM, 'The time between the last two rounds'),
  dirtyrate_memory_bytes: gauge(VM, 'The memory of the guest'),
  dirtyrate_vcpus: gauge(VM, 'How many vCPUs the VM has'),

  dirtyrate_dirty_bytes_total: counter(
    VM,
    'What the measured windows found dirty; a page counts once in each window',
  ),
  dirtyrate_measured_seconds_total: counter(VM, 'How long all measured windows were together'),
  dirtyrate_measurements_total: counter(
    [...VM, 'result'],
    'Measurements and curves by their result: complete, incomplete (a lower bound), or failed',
  ),
  dirtyrate_errors_total: counter([...VM, 'code'], 'Failed rounds and curves by their error code'),
  dirtyrate_warnings_total: counter([...VM, 'code'], 'Warnings of measurements and curves'),

  dirtyrate_dirty_rate_bytes_per_second: gauge(VM, 'The dirty rate of the last window'),
  dirtyrate_dirty_rate_bound_bytes_per_second: gauge(
    [...VM, 'bound'],
    'The interval of the dirty rate: low and high; +Inf if no upper bound is known',
  ),
  dirtyrate_dirty_rate_confidence_ratio: gauge(
    VM,
    'The confidence of the interval; 1 if the dirty rate is exact',
  ),
  dirtyrate_dirty_rate_complete: gauge(
    VM,
    '1, or 0 if the dirty rate of the last window is a lower bound',
  ),
  dirtyrate_dirty_rate_window_seconds: gauge(VM, 'How long the last window was'),
  dirtyrate_last_measurement_timestamp_seconds: gauge(
    VM,
    'When the last measurement ended; it stays when the target fails',
  ),

  dirtyrate_vcpu_dirty_bytes_total: counter(
    [...VM, 'vcpu'],
    'What each vCPU dirtied in the measured windows, if the mode knows',
  ),
  dirtyrate_vcpu_dirty_rate_bytes_per_second: gauge(
    [...VM, 'vcpu'],
    'The dirty rate of each vCPU in the last window, if the mode knows',
  ),

  dirtyrate_curve_dirty_rate_bytes_per_second: gauge(
    [...VM, 'window'],
    'The dirty rate of each window of the last curve; the label is the asked window in seconds',
  ),
  dirtyrate_curve_dirty_rate_bound_bytes_per_second: gauge(
    [...VM, 'window', 'bound'],
    'The interval of the dirty rate of each window of the last curve',
  ),
  dirtyrate_curve_dirty_bytes: gauge(
    [...VM, 'window'],
    'The distinct pages of each window of the last curve, in bytes, if the mode counts them',
  ),
  dirtyrate_curve_window_seconds: gauge(
    [...VM, 'window'],
    'How long each window of the last curve really was',
  ),
  dirtyrate_curve_confidence_ratio: gauge(VM, 'The confidence of the intervals of the last curve'),
  dirtyrate_curve_complete: gauge(VM, '1, or 0 if the rates of the last curve are lower bounds'),
  dirtyrate_curve_timestamp_seconds: gauge(VM, 'When the last curve ended'),
  dirtyrate_curve_page_size_bytes: gauge(VM, 'The size of the pages that the last curve counted'),
  dirtyrate_curve_memory_bytes: gauge(VM, 'The memory that the last curve is about'),
  dirtyrate_curve_zero_bytes: gauge(
    [...VM, 'bound'],
    'The memory that held only zeros at the last curve, if the mode knows: value, low and high',
  ),
  dirtyrate_curve_compressed_ratio: gauge(
    [...VM, 'bound'],
    'The part of its size to which a page is compressed, if the mode knows: value, low and high',
  ),
  dirtyrate_curve_compression_bytes_per_second: gauge(
    VM,
    'How fast one CPU compresses the pages, if the mode knows',
  ),
  dirtyrate_curve_may_sweep: gauge(
    VM,
    '1 if the guest may come back to each page after a fixed time, and 0 if it writes at random',
  ),

  dirtyrate_prediction_verdict: gauge(
    [...OF_LINK, 'verdict'],
    '1 for the verdict about a migration over this link (converges, stalls or uncertain), and 0 for the others',
  ),
  dirtyrate_prediction_total_seconds: gauge(
    OF_LINK,
    'How long the migration most probably takes; +Inf if it does not end',
  ),
  dirtyrate_prediction_downtime_seconds: gauge(
    OF_LINK,
    'How long the guest most probably stands still; +Inf if the migration does not end',
  ),
  dirtyrate_prediction_transfer_bytes: gauge(
    OF_LINK,
    'What most probably goes over the link; +Inf if the migration does not end',
  ),
  dirtyrate_prediction_least_downtime_seconds: gauge(
    [...VM, 'bandwidth', 'bound'],
    'The least downtime with which the migration ends over this link: value, low and high',
  ),
  dirtyrate_prediction_least_bandwidth_bytes_per_second: gauge(
    [...VM, 'downtime', 'bound'],
    'The least bandwidth with which the migration ends within this downtime: value, low and high',
  ),
  dirtyrate_prediction_way_out: gauge(
    [...OF_LINK, 'way'],
    '1 if the migration, which does not surely end by itself, surely ends in this way; otherwise 0',
  ),

  dirtyrate_cost_seconds_total: counter(
    [...VM, 'step'],
    'How long each step of the measurements took: start, sync, harvest, reap and hash',
  ),
  dirtyrate_longest_lock_seconds: gauge(
    VM,
    "The longest call of the last measurement that held the kernel's lock, on which a vCPU can wait",
  ),
  dirtyrate_guest_exits_per_second: gauge(
    [...VM, 'phase'],
    'How often vCPUs left the guest, before, during and after the last window, by KVM',
  ),
  dirtyrate_guest_page_faults_per_second: gauge(
    [...VM, 'phase'],
    'The page faults of the guest that KVM handled, before, during and after the last window',
  ),
  dirtyrate_guest_tlb_flushes_per_second: gauge(
    [...VM, 'phase'],
    'The TLB flushes, before, during and after the last window, by KVM',
  ),

  dirtyrate_migration_active: gauge(
    VM,
    '1 while the VM migrates, in which time it is followed and not measured, otherwise 0; absent if the target cannot know',
  ),
  dirtyrate_migration_elapsed_seconds: gauge(VM, 'How long the migration has been under way'),
  dirtyrate_migration_data_processed_bytes: gauge(VM, 'What the migration has sent'),
  dirtyrate_migration_data_remaining_bytes: gauge(VM, 'What the migration has still to send'),
  dirtyrate_migration_dirty_memory_rate_bytes_per_second: gauge(
    VM,
    "The dirty rate by the hypervisor's own count at the last pass",
  ),
  dirtyrate_migration_passes: gauge(VM, 'The passes of the migration over the memory'),
  dirtyrate_migration_expected_downtime_seconds: gauge(
    VM,
    "The hypervisor's own estimate of how long the guest will stand still",
  ),

  dirtyrate_truth_bytes_total: counter(
    [...VM, 'bound'],
    'What a built-in guest wrote in the measured windows, by its own count: low and high',
  ),

  process_cpu_seconds_total: counter([], 'The CPU time of this process'),
  process_resident_memory_bytes: gauge([], 'The resident memory of this process'),
  process_open_fds: gauge([], 'The open file descriptors of this process'),
  process_start_time_seconds: gauge([], 'When this process started, since the Epoch'),
}

/** One value of a metric. */
export interface Sample {
  readonly name: MetricName
  /** The values of the labels, by their names. */
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Throws RangeError for a name that is not in the table. */
export function familyOf(name: MetricName): Family {
  const family = families[name]
  if (family === undefined) throw new RangeError(`there is no metric ${name}`)
  return family
}
