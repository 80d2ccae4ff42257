package server_test

import (
	"context"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
)

// bare is what a script would do in Switchyard's place: clone the branch, and init, plan and show each root.
type bare struct {
	terraform string
	clone     string // address with a token
	states    string
	roots     []string
	dir       string
}

// newBare gets what a script on this machine would be given: the same Terraform, and a token for the repository.
func newBare(b *testing.B, f *fleet) *bare {
	b.Helper()
	path, err := terraform.Find(f.ctx, terraform.Want{})
	if err != nil {
		b.Fatal(err)
	}
	client, err := hub.New(hub.Options{AppID: f.Box.AppID(), PrivateKey: f.Box.PrivateKey(), APIURL: f.Box.APIURL(), WebURL: f.Box.URL()})
	if err != nil {
		b.Fatal(err)
	}
	installations, err := client.Installations(f.ctx)
	if err != nil || len(installations) != 1 {
		b.Fatalf("installations: %v, %v", installations, err)
	}
	token, err := client.Token(f.ctx, operation.Repository{
		ID: f.repo.ID(), Owner: f.repo.Owner(), Name: f.repo.Name(), Installation: installations[0].ID,
	})
	if err != nil {
		b.Fatal(err)
	}
	address, err := url.Parse(f.repo.CloneURL())
	if err != nil {
		b.Fatal(err)
	}
	address.User = url.UserPassword("x-access-token", token)
	return &bare{terraform: path, clone: address.String(), states: f.States, roots: f.roots, dir: b.TempDir()}
}

// run does it for a branch, with so many roots at a time, and says how long it took.
func (s *bare) run(b *testing.B, branch string, atOnce int) time.Duration {
	b.Helper()
	began := time.Now()
	dir := b.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := s.command(b.Context(), dir, "git", "clone", "--quiet", "--branch", branch, s.clone, tree); err != nil {
		b.Fatal(err)
	}
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(atOnce)
	for _, root := range s.roots {
		group.Go(func() error { return s.plan(ctx, filepath.Join(tree, root)) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return took
}

func (s *bare) plan(ctx context.Context, root string) error {
	state := filepath.Join(s.states, filepath.Base(root)+"-dev.tfstate")
	for _, args := range [][]string{
		{"init", "-input=false", "-no-color", "-backend-config=path=" + state},
		{"plan", "-input=false", "-no-color", "-lock=false", "-out=plan", "-var-file=env/dev.tfvars"},
		{"show", "-json", "-no-color", "plan"},
	} {
		if err := s.command(ctx, root, s.terraform, args...); err != nil {
			return err
		}
	}
	return nil
}

// command runs one program. Its output is read, as a script would, and dropped.
func (s *bare) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // argv of the benchmark
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "CHECKPOINT_DISABLE=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	}
	said := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = io.Discard, said
	if err := cmd.Run(); err != nil {
		return &bareError{command: name + " " + args[0], said: said.String(), err: err}
	}
	return nil
}

// bareError is a program that failed.
type bareError struct {
	command, said string
	err           error
}

func (e *bareError) Error() string { return e.command + ": " + e.err.Error() + ": " + e.said }
func (e *bareError) Unwrap() error { return e.err }
