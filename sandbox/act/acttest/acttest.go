// Package acttest finds act for tests, and node, which the stand-ins of GitHub's actions need. Without them a test is skipped on
// a person's machine, and fails where CI is set.
package acttest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox/act"
)

// Runner runs the jobs of a test with the act that `make tools` has built. What it needs on disk is removed with the test.
func Runner(t testing.TB, change ...func(*act.Options)) *act.Runner {
	t.Helper()
	options := act.Options{Program: program(), Dir: filepath.Join(t.TempDir(), "jobs")}
	for _, f := range change {
		f(&options)
	}
	runner, err := act.New(options)
	if err == nil {
		return runner
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("workflows cannot be run; make tools builds act: %v", err)
	}
	t.Skipf("SKIPPED: workflows cannot be run; make tools builds act: %v", err)
	return nil
}

// program is where make puts act.
func program() string {
	_, file, _, _ := runtime.Caller(0) //nolint:dogsled // only the file matters
	return filepath.Join(filepath.Dir(file), "..", "..", "..", ".bin", "act")
}
