package server //nolint:testpackage // what is free on a disk is not exported

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADiskThatTakesNothingMore(t *testing.T) {
	t.Parallel()
	free := func(room int64) func(string) (int64, error) { return func(string) (int64, error) { return room, nil } }
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		disk disk
		says string // empty: it is ready
	}{
		"there is room":                        {disk{t.TempDir(), free(leastRoom)}, ""},
		"by the kernel's count":                {disk{t.TempDir(), freeRoom}, ""},
		"a byte too little":                    {disk{t.TempDir(), free(leastRoom - 1)}, "is full: 31 MiB are free"},
		"a file cannot be made":                {disk{file, free(leastRoom)}, "takes no file"},
		"the directory is gone":                {disk{filepath.Join(t.TempDir(), "gone"), freeRoom}, "ask how full"},
		"the kernel does not say what is free": {disk{t.TempDir(), func(string) (int64, error) { return 0, errors.New("no") }}, "ask how full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.disk.takes()
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if left, err := filepath.Glob(filepath.Join(test.disk.dir, ".probe-*")); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}
