  local me, owner, ends, past, kept, kind, value = arguments.owner, '', 0, '', 0, '', ''
  if row then owner, ends, past, kept, kind, value = unpack(row) end
  if now >= ends then owner, ends = '', 0 end
  if now >= kept then past, kept, kind, value = '', 0, '', '' end
  local reply
  if arguments.what == 'take' then
    if past ~= '' and past == arguments.following then
      reply = {kind, value}
    elseif owner ~= '' and owner ~= me then
      reply = {'wait', owner}
    else
      owner, ends = me, now + arguments.lasts
      reply = {'lead', past}
    end
  elseif owner ~= me then
    reply = {'lost', ''}
  elseif arguments.what == 'renew' then
    ends = now + arguments.lasts
    reply = {'held', ''}
  else
    owner, ends = '', 0
    if arguments.kind ~= '' then
      past, kept, kind, value = me, now + arguments.lasts, arguments.kind, arguments.value
    end
    reply = {'ended', ''}
  end
  local keep = math.max(ends, kept) - now
  if keep <= 0 then return nil, reply, 0 end
  return {owner, ends, past, kept, kind, value}, reply, keep
