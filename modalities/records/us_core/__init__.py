"""What US Core 6.1 asks for beyond the chart: the hospital, who the patient is, orders, coverage, prevention, care."""
