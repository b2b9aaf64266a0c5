//go:build unix

package cluster

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// checkFormat tells a program of this machine from everything else, as far as that goes without executing it.
func (r *release) checkFormat(size int64) error {
	start := make([]byte, elfStartLen)
	n, err := r.file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read it: %w", err)
	}
	start = start[:n]
	switch {
	case strings.HasPrefix(string(start), "#!"):
		return nil // whether there is such an interpreter shows when it is started
	case strings.HasPrefix(string(start), "MZ"):
		return fmt.Errorf("it is a Windows program; build it with GOOS=%s", runtime.GOOS)
	case strings.HasPrefix(string(start), "\xcf\xfa\xed\xfe"), strings.HasPrefix(string(start), "\xca\xfe\xba\xbe"):
		return fmt.Errorf("it is a macOS program; build it with GOOS=%s", runtime.GOOS)
	case !strings.HasPrefix(string(start), elf.ELFMAG):
		return errors.New(`it is not a program: neither ELF nor a script that begins with "#!"`)
	}
	theirs, ok := parseELFStart(start)
	if !ok {
		return errTruncated
	}
	if ours, ok := ownELFStart(); ok {
		if err := theirs.fits(ours); err != nil {
			return err
		}
	}
	return checkELF(r.file, uint64(size))
}

var errTruncated = errors.New("it is cut short: its headers speak of more than the file holds; copy it again")

// checkELF checks that all which the headers announce is in the file. Sections are not needed to run, but their end is the
// end of what the linker wrote: a copy that lacks a piece of them is no whole copy.
func checkELF(file io.ReaderAt, size uint64) error {
	// Reads the tables of headers and the names of sections. What it returns fits in an int64, so sums do not overflow.
	f, err := elf.NewFile(file)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTruncated
	}
	if err != nil {
		return fmt.Errorf("it is damaged: %w; copy it again", err)
	}
	loads := false
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		loads = true
		if p.Off+p.Filesz > size {
			return errTruncated
		}
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Type != elf.SHT_NULL && s.Offset+s.FileSize > size {
			return errTruncated
		}
	}
	if !loads || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("it is not a program but %v, a part of one; name what the linker made", f.Type)
	}
	return nil
}

// An elfStart is what an ELF file says about where it runs.
type elfStart struct {
	class   elf.Class
	data    elf.Data
	abi     elf.OSABI
	machine elf.Machine
}

// elfStartLen is the length of the header up to the machine's end, the same for 32 and 64 bits.
const elfStartLen = 20

func parseELFStart(b []byte) (elfStart, bool) {
	if len(b) < elfStartLen || string(b[:4]) != elf.ELFMAG {
		return elfStart{}, false
	}
	e := elfStart{class: elf.Class(b[elf.EI_CLASS]), data: elf.Data(b[elf.EI_DATA]), abi: elf.OSABI(b[elf.EI_OSABI])}
	if e.abi == elf.ELFOSABI_LINUX { // set where the linker used a GNU extension; Linux runs both alike
		e.abi = elf.ELFOSABI_NONE
	}
	e.machine = elf.Machine(binary.LittleEndian.Uint16(b[18:]))
	if e.data == elf.ELFDATA2MSB {
		e.machine = elf.Machine(binary.BigEndian.Uint16(b[18:]))
	}
	return e, true
}

// ownELFStart reads what the running program says: proof of what this machine runs, with no table of architectures. It
// refuses a 32-bit program to a 64-bit master that could run it, and nobody changes that on purpose in a reload.
func ownELFStart() (elfStart, bool) {
	own, err := openOwnExecutable()
	if err != nil {
		return elfStart{}, false
	}
	defer own.Close()
	start := make([]byte, elfStartLen)
	if _, err := own.ReadAt(start, 0); err != nil {
		return elfStart{}, false
	}
	return parseELFStart(start)
}

func (e elfStart) fits(ours elfStart) error {
	if e.machine != ours.machine || e.class != ours.class || e.data != ours.data {
		return fmt.Errorf("it is for %s, and this machine is %s; build it with GOARCH=%s", e, ours, runtime.GOARCH)
	}
	if e.abi != ours.abi {
		system := strings.ToLower(strings.TrimPrefix(e.abi.String(), "ELFOSABI_"))
		return fmt.Errorf("it is for the system %s, and this is %s; build it with GOOS=%s", system, runtime.GOOS, runtime.GOOS)
	}
	return nil
}

// String names the machine as people do: x86-64, aarch64, arm 32-bit.
func (e elfStart) String() string {
	name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(e.machine.String(), "EM_"), "_", "-"))
	if e.class != elf.ELFCLASS64 {
		name += " 32-bit"
	}
	if e.data != elf.ELFDATA2LSB {
		name += " big-endian"
	}
	return name
}
