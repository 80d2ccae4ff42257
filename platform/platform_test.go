package platform_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/switchyard-dev/switchyard/platform"
)

func open(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // again: that it is closed already is what some tests are about
	return file
}

func TestLocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second func(*os.File) error
		free          bool
	}{
		"one has it alone":               {platform.Lock, platform.Lock, false},
		"who has it alone shares it not": {platform.Lock, platform.LockShared, false},
		"who shares it keeps it":         {platform.LockShared, platform.Lock, false},
		"many share it":                  {platform.LockShared, platform.LockShared, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "lock")
			holder, other := open(t, path), open(t, path)
			if err := c.first(holder); err != nil {
				t.Fatal(err)
			}
			if _, err := holder.WriteString("held"); err != nil {
				t.Errorf("who has the lock cannot write: %v", err)
			}
			err := c.second(other)
			if c.free && err != nil || !c.free && !errors.Is(err, platform.ErrLocked) {
				t.Errorf("the second gets %v", err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "held" { //nolint:gosec // of the test
				t.Errorf("others read %q, %v", text, err)
			}
			if err := holder.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.second(other); err != nil {
				t.Errorf("after the first has closed it, the second gets %v", err)
			}
		})
	}
}

func TestFreeRoomIsOfADirectoryThatIsThere(t *testing.T) {
	t.Parallel()
	if free, err := platform.FreeRoom(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("%d bytes, %v", free, err)
	}
	if _, err := platform.FreeRoom(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there has room")
	}
}
