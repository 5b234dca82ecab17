// SIP as text, coloured a little: start line, names of header fields, body. It is
// hostile text and is only ever text here.

export function SIPTextView({ text, mark }: { text: string; mark?: Record<number, string> }) {
  const lines = text.replace(/\r\n/g, '\n').replace(/\n+$/, '').split('\n');
  const empty = lines.indexOf('');
  return (
    <pre class="sip" tabIndex={0}>
      {lines.map((line, i) => {
        const kind = i === 0 ? 'start' : empty >= 0 && i > empty ? 'body' : 'header';
        const colon = kind === 'header' && !/^[ \t]/.test(line) ? line.indexOf(':') : -1;
        return (
          <span key={i} class={`line ${kind}${mark?.[i + 1] ? ' ' + mark[i + 1] : ''}`}>
            {colon > 0 ? <><b>{line.slice(0, colon)}</b>{line.slice(colon)}</> : line}
            {'\n'}
          </span>
        );
      })}
    </pre>
  );
}
