package server

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/settings"
)

// GitHub is what ForSandbox needs of a stand-in for GitHub.
type GitHub interface {
	URL() string
	APIURL() string
	GraphQLURL() string
	IssuerURL() string // of the tokens by which jobs prove who they are
	AppID() int64
	PrivateKey() []byte
	WebhookSecret() string
}

// ForSandbox are the options of a server on loopback that serves a stand-in for GitHub.
func ForSandbox(box GitHub, dataDir, program string, log zerolog.Logger) Options {
	s := settings.Defaults()
	s.Listen = "127.0.0.1:0"
	s.DataDir = dataDir
	s.AppID, s.PrivateKey = box.AppID(), box.PrivateKey()
	s.WebhookSecrets = [][]byte{[]byte(box.WebhookSecret())}
	s.GitHub = settings.GitHub{Web: box.URL(), API: box.APIURL(), GraphQL: box.GraphQLURL(), Issuer: box.IssuerURL()}
	s.Writes = settings.Writes{} // the stand-in has no such limits unless a test asks for them
	s.Drain = 10 * time.Second
	s.Limits.Lock = 2 * time.Second // whoever looks on does not wait for a lock that nobody will release
	return Options{Settings: s, Log: log, Program: program}
}

// Reached are the options of a server that jobs on this machine can ask: whether an apply may begin, and for tokens.
func (o Options) Reached(ctx context.Context) (Options, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Settings.Listen)
	if err != nil {
		return o, fmt.Errorf("listen on %s: %w", o.Settings.Listen, err)
	}
	o.Listener, o.Settings.PublicURL = listener, "http://"+listener.Addr().String()
	return o, nil
}
