// Calls a service with mTLS under an X.509-SVID, and again once the SVID was renewed.
//
// usage: client URL OWN_ID PEER_ID, with SPIFFE_ENDPOINT_SOCKET
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	timeout        = 10 * time.Second
	renewalTimeout = 60 * time.Second
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: client URL OWN_ID PEER_ID")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(url, ownID, peerID string) error {
	own, err := spiffeid.FromString(ownID)
	if err != nil {
		return err
	}
	peer, err := spiffeid.FromString(peerID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithDefaultX509SVIDPicker(picker(own)))
	if err != nil {
		return err
	}
	defer source.Close()

	// The source is asked at each handshake, so a new connection presents the newest SVID.
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(peer))
	config.MinVersion = tls.VersionTLS13
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: timeout}

	first, err := held(source, own)
	if err != nil {
		return err
	}
	fmt.Printf("holds %s, %s\n", own, describe(first))
	if err := call(client, url, peer); err != nil {
		return err
	}
	renewed, err := await(source, own, first)
	if err != nil {
		return err
	}
	fmt.Printf("renewed: %s\n", describe(renewed))
	return call(client, url, peer)
}

// picker chooses our identity where this process may have several.
func picker(own spiffeid.ID) func([]*x509svid.SVID) *x509svid.SVID {
	return func(svids []*x509svid.SVID) *x509svid.SVID {
		for _, svid := range svids {
			if svid.ID == own {
				return svid
			}
		}
		return svids[0]
	}
}

func held(source *workloadapi.X509Source, own spiffeid.ID) (*x509svid.SVID, error) {
	svid, err := source.GetX509SVID()
	if err == nil && svid.ID != own {
		err = fmt.Errorf("this process may be %s, not %s", svid.ID, own)
	}
	return svid, err
}

func await(source *workloadapi.X509Source, own spiffeid.ID, old *x509svid.SVID) (*x509svid.SVID, error) {
	late := time.After(renewalTimeout)
	for {
		svid, err := held(source, own)
		if err != nil || svid.Certificates[0].SerialNumber.Cmp(old.Certificates[0].SerialNumber) != 0 {
			return svid, err
		}
		select {
		case <-source.Updated():
		case <-late:
			return nil, fmt.Errorf("not renewed within %s", renewalTimeout)
		}
	}
}

func describe(svid *x509svid.SVID) string {
	leaf := svid.Certificates[0]
	return fmt.Sprintf("serial %x, until %s", leaf.SerialNumber, leaf.NotAfter.Format(time.RFC3339))
}

func call(client *http.Client, url string, peer spiffeid.ID) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s answers: %s\n", peer, strings.TrimSpace(string(body)))
	return nil
}
