// Package azuretest lets tests work on the stand-in for Azure's storage where there is one. Only tests import it.
package azuretest

import (
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox/azure"
)

// Find says how the stand-in is started that is installed below root. Without one the test is skipped, loudly, and in CI it fails.
func Find(t testing.TB, root string) azure.Options {
	t.Helper()
	options, reason := azure.Find(root)
	switch {
	case reason == "":
	case os.Getenv("CI") != "":
		t.Fatal(reason)
	default:
		t.Skip("NOTHING OF THIS IS TESTED AGAINST AZURE'S STORAGE: " + reason)
	}
	return options
}
