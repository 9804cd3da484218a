/** The page at `/`. It has nothing of any VM, so nothing of a VM can be markup in it. */

export function homePage(version: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dirtyrate serve</title>
</head>
<body>
<h1>dirtyrate ${version}</h1>
<p>This server measures how fast virtual machines dirty their memory.</p>
<ul>
<li><a href="/metrics">/metrics</a>: the figures, for Prometheus</li>
</ul>
</body>
</html>
`
}
