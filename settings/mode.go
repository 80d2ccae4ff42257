package settings

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/switchyard-dev/switchyard/platform"
)

// refuseMode refuses a key file that other users of the host may read or change. Its group may read it: that is how root gives a
// file to a service. A file on a read-only mount is taken as it is: platforms mount secrets so, with modes that they choose
// themselves, into a container where nobody else looks, and chmod cannot work there.
// https://kubernetes.io/docs/concepts/storage/volumes/#secret
// https://docs.docker.com/engine/swarm/secrets/
// What cannot be looked at is left to who reads it.
func refuseMode(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return nil //nolint:nilerr // reading it says what is wrong
	}
	readOnly, err := platform.IsReadOnly(name)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	owner, known := platform.Owner(info)
	user := os.Geteuid()
	mine := user == 0 || known && owner == user
	return judgeMode(name, info.Mode(), readOnly, mine, user)
}

// judgeMode is the decision of refuseMode. The file is mine when the user, the server's, may change its mode.
func judgeMode(name string, mode fs.FileMode, readOnly, mine bool, user int) error {
	const othersRead, othersWrite, groupWrite = 0o004, 0o002, 0o020
	if !mode.IsRegular() || readOnly || mode&(othersRead|othersWrite|groupWrite) == 0 {
		return nil
	}
	what := "read"
	if mode&othersRead == 0 {
		what = "change"
	}
	command := "chmod 600 " + name
	if !mine { // it would not be readable for the server any more
		command = fmt.Sprintf("chown %d %s && %s", user, name, command)
	}
	return &remedy{
		what: fmt.Sprintf("has the mode %04o, so other users of this host may %s it", mode.Perm(), what),
		fix:  "Run `" + command + "`.",
	}
}
