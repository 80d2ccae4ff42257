package store_test

import (
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/store/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
