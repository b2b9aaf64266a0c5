//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// refusal is a message that was not taken, and why. What it was may be unknown.
type refusal struct {
	message message
	reason  error
}

// maxRights is room for the control message of one descriptor. Alignment makes it
// room for two on 64-bit systems. The kernel closes what does not fit.
var maxRights = unix.CmsgSpace(4)

// receive waits for the next message. The error is io.EOF when the other side is no
// more. A descriptor that came along belongs to the caller; -1 if there is none.
//
// What can't be understood is refused, message by message, and closed where it is a
// descriptor: the other side may be of another release, or this process may have no
// descriptor free, and neither is a reason to part. Packets leave no other way for
// a link to end but the other side's death. On a stream a length that can't be is
// the end: nobody could tell where the next message begins.
func (l *link) receive() (m message, fd int, err error) {
	for {
		packet, bereft, err := l.packet()
		if err == nil && packet == nil {
			err = l.fill()
		}
		if err != nil {
			l.got = nil
			l.closeDescriptors()
			return message{}, -1, err
		}
		if packet == nil {
			continue
		}
		m, fd, err := l.open(packet, bereft)
		if err == nil {
			return m, fd, nil
		}
		l.refuse(m, err)
	}
}

func (l *link) refuse(m message, reason error) {
	if l.refused != nil {
		l.refused(refusal{m, reason})
	}
}

// open decodes a packet and finds its descriptor.
func (l *link) open(packet []byte, bereft bool) (message, int, error) {
	var m message
	err := json.Unmarshal(packet, &m)
	if err != nil {
		m, err = message{}, fmt.Errorf("decode a message: %w", err)
	}
	fd := -1
	switch {
	case err != nil || !m.Descriptor:
	case bereft:
		err = fmt.Errorf("take over the descriptor of %s: it was lost, because this process has none free (ulimit -n) or several came", m.Kind)
	case len(l.fds) == 0:
		err = fmt.Errorf("take over the descriptor of %s: none came", m.Kind)
	case !l.stream && len(l.fds) > 1:
		err = fmt.Errorf("take over the descriptor of %s: several came", m.Kind)
	default:
		fd, l.fds = l.fds[0], l.fds[1:]
	}
	if !l.stream {
		l.closeDescriptors() // nobody announced them, or they are refused
	}
	return m, fd, err
}

// packet takes the next whole packet out of what was received; nil if there is none
// yet. It is valid until the next read.
func (l *link) packet() (p []byte, bereft bool, err error) {
	if !l.stream {
		p, bereft = l.got, l.bereft > 0
		l.got, l.bereft = nil, 0
		return p, bereft, nil
	}
	if len(l.got) < 3 {
		return nil, false, nil
	}
	n := int(l.got[0])<<16 | int(l.got[1])<<8 | int(l.got[2])
	if n > maxMessage {
		return nil, false, fmt.Errorf("a message of %d bytes: the limit is %d", n, maxMessage)
	}
	if len(l.got) < 3+n {
		return nil, false, nil
	}
	p, bereft = l.got[3:3+n], l.bereft > 0
	l.got, l.bereft = l.got[3+n:], max(0, l.bereft-3-n)
	return p, bereft, nil
}

// shortageWait is how long to wait where the kernel lacks something for a read.
const shortageWait = 10 * time.Millisecond

// fill reads once. Nothing may have come when it returns nil.
func (l *link) fill() error {
	if l.buf == nil { // room for a whole message behind the beginning of one, and one byte to notice what is longer
		l.buf = make([]byte, 2*(maxMessage+3))
	}
	if l.reserve != nil {
		l.reserve.fill()
	}
	have := copy(l.buf, l.got) // on a stream
	l.got = l.buf[:have]
	if have == 0 {
		l.got = nil
	}
	rights := make([]byte, maxRights)
	n, rn, flags, err := l.read(l.buf[have:have+maxMessage+3], rights)
	switch {
	case isShortage(err), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EMSGSIZE):
		l.refuse(message{}, fmt.Errorf("read a message: %w", err))
		<-time.After(shortageWait) // nothing tells when there is some again
		return nil
	case errors.Is(err, unix.ECONNRESET):
		return nil // the other side died with messages unread; what it has said itself can be read still, and then the end
	case err != nil:
		return err
	}
	crowded, err := l.takeOver(rights[:rn])
	lost := err != nil || flags&unix.MSG_CTRUNC != 0 || l.stream && crowded
	switch {
	case n == 0 && (l.stream || hungUp(l.conn)):
		return io.EOF
	case n == 0:
		l.refuse(message{}, errors.New("a message of no bytes"))
	case !l.stream && (n > maxMessage || flags&unix.MSG_TRUNC != 0):
		l.refuse(message{}, fmt.Errorf("a message of more than %d bytes", maxMessage))
	default:
		l.got = l.buf[:have+n]
		if lost { // it can't be told any more which belongs to which message
			l.bereft = len(l.got)
			l.closeDescriptors()
		}
		return nil
	}
	l.closeDescriptors()
	return nil
}

// read is recvmsg(2) that waits. A descriptor that comes along gets the place of the
// reserve: a message that was read can't be read again when there is one.
func (l *link) read(p, rights []byte) (n, rn, flags int, err error) {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return 0, 0, 0, err
	}
	readErr := raw.Read(func(fd uintptr) bool {
		if l.reserve != nil && !l.stream {
			// Without room for it, a peek says that a descriptor comes: MSG_CTRUNC.
			if _, _, seen, _, err := unix.Recvmsg(int(fd), nil, nil, unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && seen&unix.MSG_CTRUNC != 0 {
				l.reserve.giveUp()
			}
		}
		for {
			n, rn, flags, _, err = unix.Recvmsg(int(fd), p, rights, unix.MSG_DONTWAIT|closeOnExec)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	if readErr != nil {
		return 0, 0, 0, readErr
	}
	return n, rn, flags, err
}

// takeOver keeps the descriptors that came with a read for the message that announces
// them. crowded says that there were several.
func (l *link) takeOver(rights []byte) (crowded bool, err error) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return false, err
	}
	n := 0
	for _, msg := range msgs {
		fds, err := unix.ParseUnixRights(&msg)
		if err != nil {
			return false, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // where the kernel was not told to do that by itself
			l.fds = append(l.fds, fd)
			n++
		}
	}
	return n > 1, nil
}

func (l *link) closeDescriptors() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.fds = nil
}
