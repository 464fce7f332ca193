package chatcompletion

// dashboardPage is the page of the dashboard.
const dashboardPage = "<!doctype html><meta charset=utf-8><title>Dashboard</title><p>The dashboard."

// dashboardPolicy is the Content-Security-Policy of the page.
const dashboardPolicy = "default-src 'none'"
