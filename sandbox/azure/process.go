package azure

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startAzurite starts the blob service, until Close, and gives its address. It serves TLS: it takes tokens over nothing else.
// https://learn.microsoft.com/azure/storage/common/storage-use-azurite#command-line-options
func (a *Azure) startAzurite(ctx context.Context, with *certificate) (string, error) {
	home := filepath.Join(a.options.Dir, "azurite")
	if err := os.MkdirAll(home, 0o750); err != nil {
		return "", fmt.Errorf("make the directory of Azurite: %w", err)
	}
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(alive, a.options.Node, a.options.Program, //nolint:gosec // the caller's programs, no shell
		"--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent",
		"--cert", with.file, "--key", with.keyFile, "--oauth", "basic")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AZURITE_ACCOUNTS=" + a.options.Account + ":" + a.options.Key}
	cmd.Dir = home
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = 10 * time.Second
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		end()
		return "", fmt.Errorf("start Azurite: %w", err)
	}
	if err := cmd.Start(); err != nil {
		end()
		return "", fmt.Errorf("start Azurite: %w", err)
	}
	said, read := make(chan string, 1), make(chan struct{})
	go listen(out, said, read)
	a.close = append(a.close, func() { end(); <-read; _ = cmd.Wait() })
	select {
	case at, found := <-said:
		if found {
			return at, nil
		}
		end()
		_ = cmd.Wait() // then problems is whole
		return "", fmt.Errorf("start Azurite: it does not listen: %.500s", problems.String())
	case <-ctx.Done():
		return "", fmt.Errorf("start Azurite: %w", ctx.Err())
	}
}

// listen sends the address that Azurite says, and reads on so that it can say more. It closes said where none was said.
func listen(out io.Reader, said chan<- string, read chan<- struct{}) {
	defer close(read)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, at, found := strings.Cut(lines.Text(), "listens on "); found {
			said <- strings.TrimSpace(at)
			_, _ = io.Copy(io.Discard, out) // until it ends
			return
		}
	}
	close(said)
}
