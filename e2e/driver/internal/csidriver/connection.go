package csidriver

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// keepConn are transport credentials that encrypt nothing and remember the connection, so that a fault can close it
// under the caller. gRPC hands nothing else to a handler from which the connection could be reached.
type keepConn struct{}

// connInfo is what keepConn remembers.
type connInfo struct {
	credentials.CommonAuthInfo
	conn net.Conn
}

func (connInfo) AuthType() string { return "insecure" }

func (keepConn) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, connInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, conn: conn}, nil
}

func (keepConn) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, connInfo{conn: conn}, nil
}

func (keepConn) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}
func (c keepConn) Clone() credentials.TransportCredentials { return c }
func (keepConn) OverrideServerName(string) error           { return nil }

// closeConn closes the connection a call came over.
func closeConn(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(connInfo); ok {
			info.conn.Close()
		}
	}
}
