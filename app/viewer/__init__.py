"""The viewer in the browser: a cohort, its patients, a live ward, jobs. The process that serves it loads no torch."""
