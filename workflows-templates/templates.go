// Package templates has the workflows that people copy into their repositories, each with what GitHub needs to offer it to all
// repositories of an organisation. Tests and tools read them from here; nothing in it knows what a workflow means.
package templates

import "embed"

// Files are the workflows, with their properties and their icon, as a `.github` repository of an organisation has them in its directory
// `workflow-templates`. https://docs.github.com/en/actions/how-tos/reuse-automations/create-workflow-templates
//
//go:embed *.yml *.properties.json *.svg
var Files embed.FS
