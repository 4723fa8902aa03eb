package node

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// ServiceAddress is that of the kubernetes Service. The API server listens on it as on every address of the node, which spares the node a proxy for
// Services: Pods route there, and the API server itself looks behind those of webhooks (--enable-aggregator-routing).
const ServiceAddress = "10.96.0.1"

// configureNetwork brings loopback up and gives it the node's addresses. There is no other device until Pods come, and no way out.
func configureNetwork(Place) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure network: %w", err)
	}
	defer unix.Close(socket)
	if err := bringUp(socket, "lo"); err != nil {
		return err
	}
	for device, address := range map[string]string{"lo:1": Address, "lo:2": ServiceAddress} {
		if err := addAddress(socket, device, address); err != nil {
			return err
		}
	}
	return nil
}

func bringUp(socket int, device string) error {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return fmt.Errorf("bring %s up: %w", device, err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring %s up: %w", device, err)
	}
	return nil
}

// addAddress gives a device, named with a label of the address's own, an address with no network around it.
func addAddress(socket int, device, address string) error {
	for _, step := range []struct {
		request uint
		value   net.IP
	}{{unix.SIOCSIFADDR, net.ParseIP(address)}, {unix.SIOCSIFNETMASK, net.IPv4bcast}} {
		request, err := unix.NewIfreq(device)
		if err == nil {
			err = request.SetInet4Addr(step.value.To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(socket, step.request, request)
		}
		if err != nil {
			return fmt.Errorf("give %s the address %s: %w", device, address, err)
		}
	}
	return nil
}
