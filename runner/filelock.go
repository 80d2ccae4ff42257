package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/switchyard-dev/switchyard/platform"
)

// How often a lock that another process holds is tried again.
const (
	lockPollFirst = 5 * time.Millisecond
	lockPollMost  = 200 * time.Millisecond
)

// lockFile takes an exclusive lock across processes, waiting for it until ctx ends. The kernel releases it when its
// holder dies. The file stays: removing it would let two hold "the" lock.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|platform.NoFollow, 0o600) //nolint:gosec // a path of the server's
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	for wait := lockPollFirst; ; wait = min(2*wait, lockPollMost) {
		err := platform.Lock(file)
		if err == nil {
			return file.Close, nil
		}
		if !errors.Is(err, platform.ErrLocked) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(fmt.Errorf("wait for lock %s: %w", path, context.Cause(ctx)), file.Close())
		case <-timer.C:
		}
	}
}
