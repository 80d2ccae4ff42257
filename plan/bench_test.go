package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/plan/plantest"
)

// BenchmarkBigPlans compares what a runner does with a plan, reading it and finding its risks, with what json.Decoder needs
// to read the same bytes as tokens, which is how it reads a document without holding it, and names the peak of memory.
func BenchmarkBigPlans(b *testing.B) {
	for _, shape := range []plantest.Shape{plantest.Kept, plantest.Created, plantest.CreatedUnlike} {
		for _, n := range []int{100, 10_000, 50_000} {
			name := filepath.Join(b.TempDir(), "plan.json")
			size, err := plantest.WriteFile(name, n, shape)
			if err != nil {
				b.Fatal(err)
			}
			start := processorTime(b)
			if err := fromFile(name, func(r io.Reader) error { return tokens(json.NewDecoder(r)) }); err != nil {
				b.Fatal(err)
			}
			decoder := processorTime(b) - start
			b.Run(fmt.Sprintf("%d %s", n, shape), func(b *testing.B) {
				b.SetBytes(size)
				peak, start := watchMemory(), processorTime(b)
				for b.Loop() {
					if err := fromFile(name, func(r io.Reader) error { return digested(r, n, shape) }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(peak())/(1<<20), "peak-MB")
				b.ReportMetric(float64(size)/(1<<20), "JSON-MB")
				b.ReportMetric((processorTime(b)-start).Seconds()/float64(b.N)/decoder.Seconds(), "×decoder")
			})
			if err := os.Remove(name); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// processorTime is what this process has used so far, on all cores. Unlike the time of a clock it does not rise with what
// else the machine does.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// keep is how many changes a runner keeps of a plan.
const keep = 2000

func digested(r io.Reader, n int, shape plantest.Shape) error {
	read, err := plan.Read(r, plan.Options{Keep: keep})
	if err != nil {
		return err
	}
	risks, err := read.Risks(nil, nil)
	if err != nil {
		return err
	}
	switch counts := read.Set.Counts; {
	case shape == plantest.Kept && (counts.Replace != (n+92)/100 || len(risks) != counts.Replace):
		return fmt.Errorf("%d replacements and %d risks", counts.Replace, len(risks))
	case shape != plantest.Kept && counts.Add != n:
		return fmt.Errorf("%d are added", counts.Add)
	}
	return nil
}

func fromFile(name string, read func(io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(read(file), file.Close())
}

func tokens(decoder *json.Decoder) error {
	for {
		if _, err := decoder.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// watchMemory gives a function that tells the largest heap since, in bytes.
func watchMemory() func() uint64 {
	debug.FreeOSMemory()
	var largest atomic.Uint64
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticks := time.NewTicker(5 * time.Millisecond) //nolint:forbidigo // a measurement of what goes on meanwhile
		defer ticks.Stop()
		for {
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			largest.Store(max(largest.Load(), memory.HeapSys-memory.HeapReleased))
			select {
			case <-ticks.C:
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return largest.Load()
	}
}
