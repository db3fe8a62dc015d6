"""The report: report.html and scores.json of a judged cohort."""
