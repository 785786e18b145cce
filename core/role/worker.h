/* The worker's side: takes its configuration from the channel, runs its role, and ends with its controller.
 */
#pragma once

/* Returns the process's exit code: 0 after `stop` or `drain`, or when the controller is gone; 64 when its
 * settings were not accepted (said on the channel); 70 when it was not started by a controller. */
int worker_main(const char *role_name);
